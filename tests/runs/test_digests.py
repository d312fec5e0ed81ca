"""The digest changes with everything that a result depends on, and with nothing else."""

import dataclasses
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor

from torchattr.models import LoadedModel
from torchattr.results import Report, RunFolder, Tee
from torchattr.runs import AlreadyDone, ExplainJob, ExplainSettings, PictureDone, run_jobs
from torchattr.runs.digests import picture_digest, run_digest
from torchattr.runs.inspection_jobs import ActivationsJob


def network(kernel=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, kernel, padding=kernel // 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(256, 3),
    ).eval()  # fmt: skip


def loaded(model=None, size=8, names=None, **options):
    transform = Compose([Resize((size, 8)), ToTensor()])
    return LoadedModel("m", model or network(), transform, names, **options)


def explaining(made=None, methods=("saliency",), **settings):
    return ExplainJob(made or loaded(), ExplainSettings(methods, **settings))


def test_the_same_has_the_same_digest():
    assert run_digest([explaining()]) == run_digest([explaining()])


def in_place(change):
    model = network()
    with torch.no_grad():
        change(model)
    return explaining(loaded(model))


CHANGES = {
    "a weight": lambda: in_place(lambda model: model[0].weight[0, 0, 0, 0].add_(1e-6)),
    "a statistic": lambda: in_place(lambda model: model[1].running_mean.add_(1e-6)),
    "a buffer that is not kept": lambda: in_place(
        lambda model: model.register_buffer("b", torch.ones(1), persistent=False)
    ),
    "a setting of a layer": lambda: in_place(lambda model: setattr(model[1], "eps", 1e-3)),
    "a layer": lambda: in_place(lambda model: model.__setitem__(2, nn.GELU())),
    "a kernel": lambda: explaining(loaded(network(5))),
    "the precision": lambda: in_place(lambda model: model.double()),
    "the preprocessing": lambda: explaining(dataclasses.replace(loaded(), transform=ToTensor())),
    "class names": lambda: explaining(loaded(names=("a", "b", "c"))),
    "the meaning of scores": lambda: explaining(loaded(activation="sigmoid")),
    "the model's name": lambda: explaining(dataclasses.replace(loaded(), name="n")),
    "a method": lambda: explaining(methods=("saliency", "grad_cam")),
    "a target": lambda: explaining(targets=("1",)),
    "a layer to look at": lambda: explaining(layers=("0",)),
    "a rule": lambda: explaining(methods=("guided_backprop",), rules={"gelu": "guided"}),
    "another look": lambda: ActivationsJob(loaded()),
    "a setting of a look": lambda: ActivationsJob(loaded(), top=2),
}


def test_whatever_changes_results_changes_the_digest():
    digests = {name: run_digest([make()]) for name, make in CHANGES.items()}
    digests["nothing"] = run_digest([explaining()])
    digests["a further look"] = run_digest([explaining(), ActivationsJob(loaded())])
    assert len(set(digests.values())) == len(digests)


def test_the_backend_changes_the_digest():
    from torchattr.kernels import backend

    with backend("torch"):
        one = run_digest([explaining()])
    assert one != run_digest([explaining()])


def test_weights_that_cannot_be_read_are_never_the_same():
    class Odd(nn.Module):
        def get_extra_state(self):
            return lambda: None

        def forward(self, x):
            return x.flatten(1)

    look = explaining(loaded(Odd()))
    assert run_digest([look]) != run_digest([look])


def test_a_quantised_model_has_a_digest():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
            self.register_buffer("sparse", torch.eye(3).to_sparse())

        def forward(self, x):
            return x.flatten(1)

    one = run_digest([explaining(loaded(Half()))])
    assert one == run_digest([explaining(loaded(Half()))])


@pytest.mark.slow
def test_source_files_change_the_digest(tmp_path):
    """Code is not part of the weights; a separate process imports the changed files."""
    script = """
        import sys
        sys.path.insert(0, sys.argv[1])
        import mine
        from torchvision.transforms import ToTensor
        from torchattr.models import LoadedModel
        from torchattr.runs import ExplainJob, ExplainSettings
        from torchattr.runs.digests import run_digest
        look = ExplainJob(LoadedModel("m", mine.Net(), ToTensor()), ExplainSettings(("saliency",)))
        print(run_digest([look]))
    """
    digests = []
    for power in (1, 2, 1):
        (tmp_path / "mine.py").write_text(
            "from torch import nn\n\nclass Net(nn.Module):\n    def forward(self, x):\n"
            f"        return x.flatten(1) ** {power}\n"
        )
        done = subprocess.run(
            [sys.executable, "-B", "-c", textwrap.dedent(script), str(tmp_path)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        digests.append(done.stdout)
    assert digests[0] == digests[2] != digests[1]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (8, 8), (200, 120, 40)).save(path)
    return path


def test_a_picture_has_the_digest_of_its_bytes_path_and_name(photo):
    digest = picture_digest("run", photo, "photo")
    assert digest == picture_digest("run", photo, "photo")
    others = [
        picture_digest("other", photo, "photo"),
        picture_digest("run", photo, "photo-2"),
        picture_digest("run", photo.parent / "b" / "photo.png", "photo"),
    ]
    Image.new("RGB", (8, 8), (200, 120, 41)).save(photo)
    others.append(picture_digest("run", photo, "photo"))
    assert len({digest, *others}) == 5


def kinds(paths, look, sink):
    with sink:
        events = list(run_jobs(paths, [look], sink))
    return [type(event) for event in events if isinstance(event, (PictureDone, AlreadyDone))]


def test_a_second_run_keeps_what_is_done_and_makes_the_rest(photo, tmp_path):
    second = tmp_path / "second.png"
    Image.new("RGB", (8, 8)).save(second)
    out = tmp_path / "out"
    assert kinds([photo], explaining(), RunFolder(out)) == [PictureDone]
    before = (out / "photo.npz").stat().st_mtime_ns
    assert kinds([photo, second], explaining(), RunFolder(out)) == [AlreadyDone, PictureDone]
    assert (out / "photo.npz").stat().st_mtime_ns == before
    assert kinds([photo, second], explaining(), RunFolder(out, overwrite=True)) == [PictureDone] * 2


@pytest.mark.parametrize("change", ["picture", "model", "method", "target", "file"])
def test_what_differs_is_done_anew(photo, tmp_path, change):
    out = tmp_path / "out"
    assert kinds([photo], explaining(), RunFolder(out)) == [PictureDone]
    look = explaining()
    if change == "picture":
        Image.new("RGB", (8, 8), (1, 2, 3)).save(photo)
    elif change == "model":
        look = CHANGES["a weight"]()
    elif change == "method":
        look = explaining(methods=("saliency", "grad_cam"))
    elif change == "target":
        look = explaining(targets=("1",))
    else:
        (out / "photo.npz").unlink()
    assert kinds([photo], look, RunFolder(out)) == [PictureDone]
    assert kinds([photo], look, RunFolder(out)) == [AlreadyDone]


def test_two_kinds_of_looks_in_one_folder_keep_each_other(photo, tmp_path):
    looks = explaining(), ActivationsJob(loaded())
    for expected in (PictureDone, AlreadyDone):
        for look in looks:
            assert kinds([photo], look, RunFolder(tmp_path / "out")) == [expected]


def test_a_page_has_all_the_pictures_of_its_run(photo, tmp_path):
    for _ in range(2):
        sink = Tee(RunFolder(tmp_path / "out"), Report(tmp_path / "page.html"))
        assert kinds([photo], explaining(), sink) == [PictureDone]
    assert "<img" in (tmp_path / "page.html").read_text()


def test_a_run_that_ended_early_goes_on(photo, tmp_path):
    paths = []
    for number in range(4):
        paths.append(Path(tmp_path / f"{number}.png"))
        Image.new("RGB", (8, 8), (number, 0, 0)).save(paths[-1])
    out = tmp_path / "out"
    with RunFolder(out) as folder:
        for event in run_jobs(paths, [explaining()], folder):
            if isinstance(event, PictureDone) and event.path == paths[1]:
                break
    assert kinds(paths, explaining(), RunFolder(out)) == [
        AlreadyDone,
        AlreadyDone,
        PictureDone,
        PictureDone,
    ]
