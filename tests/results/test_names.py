import pytest

from torchattr.errors import InputError
from torchattr.results import distinct_names
from torchattr.results.names import file_name, plain_name


def test_equal_names_are_numbered_in_order():
    assert distinct_names(["a", "b", "a", "a"]) == ["a", "b", "a-2", "a-3"]


def test_case_does_not_make_a_difference():
    assert distinct_names(["Cat", "cat"]) == ["Cat", "cat-2"]


def test_a_number_never_meets_a_name_that_is_there():
    names = distinct_names(["a", "a", "a-2"])
    assert names == ["a", "a-3", "a-2"]
    assert len({name.casefold() for name in names}) == 3


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b"])
def test_a_name_is_a_plain_file_name(name):
    with pytest.raises(InputError, match="names must be file names"):
        distinct_names([name])


ODD = [
    "red\x1b[31m",
    "title\x1b]0;pwned\x07",
    "line\nbreak",
    "back\rward",
    "nul\0byte",
    "delete\x7f",
    "c1\x9b31m",
    "caf\udce9",
    "\udcff\udcfe",
    "turned\u202egnp",
    "zero\u200bwidth",
    "separator\u2028",
    'a<b>c:d"e|f?g*h',
    "back\\slash",
    "trailing. . ",
    "..",
    ".",
    "...",
    " ",
    "",
    "aux",
    "CON",
    "nul.tar",
    "Com1",
    "LPT9.x",
    "x" * 300,
    "é" * 200,
    "漢" * 85,
    "😀" * 70,
]


@pytest.mark.parametrize("text", ODD, ids=ascii)
@pytest.mark.parametrize("make", [plain_name, file_name])
def test_any_text_becomes_a_name_that_any_system_takes(text, make, tmp_path):
    name = make(text)
    assert name.isprintable()
    assert len(name.encode()) <= 200
    assert not set(name) & set('<>:"/\\|?*')
    assert name.strip(". ") == name.rstrip(". ") != "" or name[0] == "."
    assert name.partition(".")[0].casefold() not in ("con", "aux", "nul", "com1", "lpt9")
    assert distinct_names([name]) == [name]
    (tmp_path / f"{name}-99.npz").touch()


@pytest.mark.parametrize(
    "name", ["my cat (2)", "été", "漢字", "a.b.c", "x" * 200, "console", ".hidden"]
)
def test_a_name_that_any_system_takes_stays(name):
    assert plain_name(name) == name


def test_long_names_stay_apart():
    ends = [plain_name("x" * 230 + end) for end in "ab"]
    assert len(set(ends)) == 2


@pytest.mark.parametrize(
    "names",
    [["É", "é"], ["e\u0301", "\u00e9"], ["Straße", "STRASSE"], ["\u212b", "\u00e5"]],
    ids=ascii,
)
def test_names_that_some_file_system_takes_for_the_same_are_numbered(names):
    assert distinct_names(names) == [names[0], f"{names[1]}-2"]


@pytest.mark.parametrize(
    "name", ["red\x1b[31m", "caf\udce9", "aux", "x" * 300, "a?b", "end."], ids=ascii
)
def test_a_given_name_that_some_system_refuses_is_refused(name):
    with pytest.raises(InputError, match="that are valid on any system") as refused:
        distinct_names([name])
    assert str(refused.value).isprintable()
