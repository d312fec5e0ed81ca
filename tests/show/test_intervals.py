import numpy as np

from torchattr.show import plot_dots, plot_intervals, rendered

NAN = float("nan")


def test_curves_have_their_bands_and_the_labels_of_the_steps():
    series = [
        ("one", [0.9, 0.5, 0.1], [0.8, 0.4, 0.0], [1.0, 0.6, 0.2]),
        ("other", [0.2, NAN, 0.3], [NAN] * 3, [NAN] * 3),
    ]
    axes = plot_intervals(series, ["a", "b", "c"])
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert list(lines["one"]) == [0.9, 0.5, 0.1]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "other"]
    (band, _) = axes.collections
    assert band.get_paths()[0].get_extents().ymin == 0.0
    assert (rendered(axes) != 255).any()


def test_many_labels_are_thinned_from_the_end():
    axes = plot_intervals([("one", *np.zeros((3, 60)))], [str(k) for k in range(60)])
    shown = [tick.get_text() for tick in axes.get_xticklabels()]
    assert len(shown) == 20
    assert shown[-1] == "59"
    assert axes.get_legend() is None


def test_rows_have_a_value_and_its_interval_each():
    axes = plot_dots([("one", 0.5, 0.4, 0.7), ("none", NAN, NAN, NAN)], colors=["red", "green"])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["one", "none"]
    bars = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_color() == "red"]
    assert list(bars[0].get_xdata()) == [0.4, 0.7]
    same = plot_dots([("one", 0.5, 0.4, 0.7)], axes)
    assert same is axes
