import io

from torchattr.bulk.progress import RunProgress, StderrProgress

HALF = RunProgress(done=20, of=50, in_all=40, total=100, seconds=2.0, in_all_since=40)
OVER = RunProgress(50, 50, 100, 100, 5.0, 100, is_over=True)


def test_it_tells_rate_and_remaining_time_of_the_process_and_in_all() -> None:
    assert str(HALF) == (
        "20 of 50 pictures, 10.0/s, 3 s left; in all 40 of 100 pictures, 20.0/s, 3 s left"
    )


def test_in_all_is_never_slower_than_the_process() -> None:
    assert RunProgress(20, 50, 0, 100, 2.0, 0).rate_in_all == 10


def test_nothing_done_has_no_remaining_time() -> None:
    assert "left" not in str(RunProgress(0, 50, 0, 100, 0.0, 0))


def test_a_process_without_work_says_so_and_has_no_rate() -> None:
    over = RunProgress(0, 0, 100, 100, 2.0, 0, is_over=True)
    assert str(over) == "nothing left to do: all 100 pictures are done already"
    single = RunProgress(0, 0, 1, 1, 2.0, 0, is_over=True)
    assert str(single) == "nothing left to do: the picture is done already"
    others = RunProgress(0, 0, 40, 100, 2.0, 0, is_over=True)
    assert str(others) == (
        "nothing left to do for this process; in all 40 of 100 pictures are done"
    )


def test_a_log_gets_a_line_now_and_then_and_the_last() -> None:
    stream = io.StringIO()
    watch = StderrProgress("rank 1", stream)
    for progress in (HALF, HALF, OVER):
        watch(progress)
    assert stream.getvalue().splitlines() == [f"rank 1: {HALF}", f"rank 1: {OVER}"]


def test_a_terminal_gets_one_line_that_renews_itself() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    watch = StderrProgress(stream=stream)
    watch(HALF)
    watch(OVER)
    first, second = stream.getvalue().split("\r")[1:]
    assert first == str(HALF)
    assert second.rstrip() == str(OVER)
    assert len(second) == len(first) + 1
