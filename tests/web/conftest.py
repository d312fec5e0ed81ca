"""A viewer of the bundled model, and its clients: in this process, or a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from asking import PATH
from browsing import Browser, browser, served
from starlette.testclient import TestClient

from torchattr.methods import registry as methods
from torchattr.models import LoadedModel, load_model, read_image
from torchattr.web import Limits, create_app
from torchattr.web.panels import panel as panels

HOME = "http://localhost"

Visit = Callable[..., TestClient]


@pytest.fixture(scope="session")
def demo() -> LoadedModel:
    return load_model("demo")


@pytest.fixture(scope="session")
def inputs(demo: LoadedModel) -> torch.Tensor:
    """The first sample picture as the model's input."""
    return demo.preprocess(read_image(PATH)).tensor[None]


@pytest.fixture(scope="module")
def app(demo: LoadedModel) -> Any:
    return create_app(demo, limits=Limits(sessions=1000))


@pytest.fixture
def visit(app: Any) -> Iterator[Visit]:
    """Visitors of the viewer, or of another application; each has separate cookies."""

    def visitor(application: Any = None, **options: Any) -> TestClient:
        options = {"base_url": HOME, "raise_server_exceptions": False, **options}
        return TestClient(application or app, **options)

    return visitor


@pytest.fixture
def client(visit: Visit) -> TestClient:
    return visit()


@pytest.fixture
def picture(client: TestClient) -> str:
    """The id of the first sample picture."""
    return client.get("/api/pictures").json()[0]["id"]


@pytest.fixture
def registered() -> Iterator[None]:
    """Undo afterwards what a test registers."""
    panels.registered_panels()
    with methods.METHODS.temporary(), panels.PANELS.temporary():
        yield


@pytest.fixture(scope="module")
def address(demo: LoadedModel) -> Iterator[str]:
    # Each test is a new visitor.
    with served(create_app(demo, limits=Limits(sessions=1000))) as found:
        yield found


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def page(started: Browser, address: str) -> Iterator[Browser]:
    """The page as it opens for a new visitor; the console must be empty afterwards."""
    started.forget()
    started.open(address)
    yield started
    started.settle()
    assert started.complaints() == []
    strangers = [
        url
        for _, url in started.requests()
        if not url.startswith((address, "data:", f"blob:{address}", "chrome:", "about:"))
    ]
    assert strangers == []
