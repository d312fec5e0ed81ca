import pytest
from starlette.testclient import TestClient

from torchattr.errors import InputError
from torchattr.web import create_maps_app


def test_the_page_is_that_of_the_store(maps):
    client = TestClient(create_maps_app(maps), base_url="http://localhost")
    page = client.get("/")
    assert "page/maps.js" in page.text
    for file in ("maps.js", "theme.js", "style.css"):
        assert client.get(f"/page/{file}").status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_it_is_guarded_as_the_viewer_is(maps):
    with pytest.raises(InputError, match="requires a token"):
        create_maps_app(maps, hosts=None)
    client = TestClient(create_maps_app(maps, token="a" * 20), base_url="http://localhost")
    assert client.get("/api/maps").status_code == 401
    known = {"authorization": f"Bearer {'a' * 20}"}
    assert client.get("/api/maps", headers=known).status_code == 200
    other = TestClient(create_maps_app(maps), base_url="http://elsewhere")
    assert other.get("/").status_code == 421
