import contextlib
import pickle
import random
import warnings

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from torchattr.errors import WeightsError
from torchattr.models import fit_weights, read_weights
from torchattr.models.weights import WeightsWarning


class Unsafe:
    def __reduce__(self):
        return (print, ("code ran",))


def net(width=3):
    return nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width))


def same(model, other):
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "pt"])
def test_weights_arrive(tmp_path, suffix):
    source, model, path = net(), net(), tmp_path / f"w.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(source.state_dict(), path)
    assert not same(model, source)
    fit_weights(model, read_weights(path), "w")
    assert same(model, source)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": s, "optimizer": {"lr": 0.1}},
        lambda s: {"model": {"state_dict": s, "epoch": 1}},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": {f"_orig_mod.module.{k}": v for k, v in s.items()}},
        lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}},
    ],
)
def test_common_wrappings_are_taken_off(tmp_path, wrap):
    source, model = net(), net()
    torch.save(wrap(dict(source.state_dict())), tmp_path / "w.pth")
    fit_weights(model, read_weights(tmp_path / "w.pth"), "w")
    assert same(model, source)


def prefixed(prefix):
    return lambda state: {f"{prefix}{name}": value for name, value in state.items()}


LIGHTNING, OTHER = prefixed("model."), torch.ones(3)


@pytest.mark.parametrize(
    ("wrap", "ignored"),
    [
        (lambda s: {"state_dict": {**LIGHTNING(s), "criterion.weight": OTHER}}, "criterion.weight"),
        (lambda s: {**prefixed("module.")(s), "n_averaged": torch.tensor(3)}, "n_averaged"),
        (lambda s: {**LIGHTNING(s), **prefixed("model_ema.module.")(s)}, "model_ema.module.0.w"),
        (lambda s: {**prefixed("_orig_mod.")(s), "metric.total": OTHER}, "metric.total"),
        (lambda s: {**prefixed("my_classifier.")(s), "loss.weight": OTHER}, "loss.weight"),
        (lambda s: {"state_dict": LIGHTNING(s), "ema_state_dict": s}, "ema_state_dict"),
        (lambda s: {"model": s, "model_ema": s}, "model_ema"),
        (lambda s: {**s, "epoch": 3, "hyper": {"lr": 0.1}}, "epoch, hyper"),
    ],
)
def test_further_entries_beside_a_prefix_are_named_and_not_used(tmp_path, wrap, ignored):
    source, model = net(), net()
    content = wrap(dict(source.state_dict()))
    torch.save(content, tmp_path / "w.pth")
    with pytest.warns(WeightsWarning, match=rf"w(\.pth)?, {ignored}.* not used"):
        fit_weights(model, read_weights(tmp_path / "w.pth"), "w")
    assert same(model, source)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"epoch": torch.tensor(3), "state_dict": s},
        lambda s: {"optimizer": {"state": {0: {"step": OTHER}}, "param_groups": []}, "net": s},
        lambda s: {"weights_of_mine": s, "epoch": 3},
        lambda s: {"state_dict": prefixed("module.model._orig_mod.")(s), "lr": 0.1},
    ],
)
def test_what_is_no_set_of_weights_needs_no_word(tmp_path, wrap):
    source, model = net(), net()
    torch.save(wrap(dict(source.state_dict())), tmp_path / "w.pth")
    fit_weights(model, read_weights(tmp_path / "w.pth"), "w")
    assert same(model, source)


def test_several_sets_of_weights_are_refused(tmp_path):
    state = dict(net().state_dict())
    torch.save({"student_weights": state, "teacher_weights": state}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="several sets of weights, student_weights, teacher"):
        read_weights(tmp_path / "w.pth")
    both = {**prefixed("student.")(state), **prefixed("teacher.")(state)}
    with pytest.raises(WeightsError, match=r"under several prefixes, student\., teacher\."):
        fit_weights(net(), both, "w")


def test_entries_that_do_not_fit_under_the_prefix_are_refused():
    state = {**LIGHTNING(net(4).state_dict()), "criterion.weight": OTHER}
    with pytest.warns(WeightsWarning), pytest.raises(WeightsError, match=r"0\.weight \(4, 3, 1, 1"):
        fit_weights(net(3), state, "w")
    more = {**LIGHTNING(net().state_dict()), "model.head.weight": OTHER, "criterion.weight": OTHER}
    with (
        pytest.warns(WeightsWarning),
        pytest.raises(WeightsError, match=r"unexpected: head\.weigh"),
    ):
        fit_weights(net(), more, "w")


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_any_damage_is_one_sentence(tmp_path, suffix, seed):
    path = tmp_path / f"w.{suffix}"
    (torch.save if suffix == "pth" else save_file)(net().state_dict(), path)
    source, content = random.Random(seed), bytearray(path.read_bytes())
    for _ in range(seed):
        content[source.randrange(min(len(content), 2000))] = source.randrange(256)
    path.write_bytes(content[: None if seed % 3 else source.randrange(len(content))])
    with contextlib.suppress(WeightsError), warnings.catch_warnings():
        warnings.simplefilter("ignore", WeightsWarning)
        fit_weights(net(), read_weights(path), "w")


def test_a_prefix_of_the_model_itself_stays():
    source, model = nn.DataParallel(net()), nn.DataParallel(net())
    fit_weights(model, source.state_dict(), "w")
    assert same(model, source)


def test_old_checkpoints_without_batch_counters_fit():
    state = {k: v for k, v in net().state_dict().items() if "num_batches" not in k}
    fit_weights(net(), state, "w")


def test_a_mismatch_lists_names():
    state = dict(net(4).state_dict())
    del state["0.bias"]
    state["head.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError) as caught:
        fit_weights(net(3), state, "w.pth")
    message = str(caught.value)
    assert "weights w.pth do not fit the model" in message
    assert "1 missing: 0.bias" in message
    assert "1 unexpected: head.weight" in message
    assert "5 of another shape: 0.weight (4, 3, 1, 1) instead of (3, 3, 1, 1)" in message
    assert "and 1 more" in message


def test_a_pickle_that_needs_code_is_refused_with_the_way_out(tmp_path, capsys):
    torch.save({"state_dict": Unsafe()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"run its code.*safetensors"):
        read_weights(tmp_path / "w.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Unsafe()))
    with pytest.raises(WeightsError):
        read_weights(tmp_path / "raw.pth")
    torch.save(net(), tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match="run its code"):
        read_weights(tmp_path / "whole.pth")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_torchscript_archive_is_refused(tmp_path):
    torch.jit.script(net()).save(str(tmp_path / "w.pt"))
    with pytest.raises(WeightsError, match="run its code"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [b"", b"hello, this is no checkpoint"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_damaged_files_are_named(tmp_path, suffix, content):
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"w\.{suffix} is"):
        read_weights(path)


def test_truncated_files_are_named(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(net().state_dict(), path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(WeightsError, match="damaged"):
        read_weights(path)


def test_missing_files_and_other_content(tmp_path):
    with pytest.raises(WeightsError, match="there is no file"):
        read_weights(tmp_path / "none.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match=r"named tensors.*got list"):
        read_weights(tmp_path / "list.pth")
    torch.save({"lr": 0.1}, tmp_path / "dict.pth")
    with pytest.raises(WeightsError, match=r"got a dictionary with lr"):
        read_weights(tmp_path / "dict.pth")
