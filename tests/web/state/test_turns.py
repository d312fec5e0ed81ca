"""Round-robin scheduling among owners."""

from __future__ import annotations

from torchattr.web.state.turns import RoundRobin


def test_turns_go_round() -> None:
    turns, order = RoundRobin(), []
    tickets = {name: turns.request(name[0]) for name in ("a1", "a2", "a3", "b1", "c1", "b2")}
    while waiting := [name for name, ticket in tickets.items() if ticket.is_set()]:
        assert len(waiting) == 1
        order += waiting
        del tickets[waiting[0]]
        turns.release()
    assert order == ["a1", "a2", "b1", "c1", "a3", "b2"]
