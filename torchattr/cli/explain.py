"""`torchattr explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from torchattr.cli import options
from torchattr.cli.console import reported
from torchattr.cli.loading import Load
from torchattr.cli.run import Destinations, ModelSpec, run_on_images

if TYPE_CHECKING:
    from torchattr.models import LoadedModel
    from torchattr.runs import PictureJob


def explain(
    images: options.Images = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    method: options.Methods = None,
    target: options.Targets = None,
    layer: options.CamLayers = None,
    rule: options.Rules = None,
    composite: options.Composite = None,
    option: options.MethodOptions = None,
    output: options.Output = None,
    scores: options.Scores = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    memory: options.Memory = "auto",
    ledger: options.Ledger = False,
    out: options.Out = options.OUT,
    overwrite: options.Overwrite = False,
    logdir: options.Logdir = None,
    html: options.Html = None,
    formats: options.Formats = None,
    scale: options.Scale = 1.0,
    dpi: options.Dpi = None,
    theme: options.Theme = None,
    view: options.View = "crop",
    cmap: options.Colors = None,
    json: options.Json = False,
    load: Load = None,
) -> None:
    """Explain images: which regions support each class?

    Writes a panel (PNG), the raw maps (NPZ) and an entry in manifest.json for each image. A second
    run replaces only files created by torchattr, and skips images that are already done with the
    same model and settings.
    """
    with reported():
        which = ModelSpec(model, weights, device, backend, trust, options.meaning_of(scores))
        from torchattr.methods import checked_memory, find_method
        from torchattr.models import is_user_file
        from torchattr.runs import ExplainJob, ExplainSettings

        settings = ExplainSettings(
            tuple(method or ()),
            tuple(target or ()),
            tuple(layer or ()),
            options.rules_of(rule or ()),
            options.entry_of(output),
            checked_memory(memory),
            ledger,
            composite,
            tuple(option or ()),
        )
        look = options.look_of(theme, scale)
        panel = options.panel_of(view, cmap)
        # A model's file may register methods, so they are checked after it has run.
        for name in () if is_user_file(model) else settings.names:
            find_method(name)

        def jobs(loaded: LoadedModel) -> list[PictureJob]:
            return [ExplainJob(loaded, settings, *panel, weights=weights, look=look)]

        where = Destinations(out, overwrite, logdir, html, formats=formats, dpi=dpi, theme=theme)
        raise typer.Exit(run_on_images(images, which, where, jobs, as_json=json))
