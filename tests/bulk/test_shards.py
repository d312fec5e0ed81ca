import os
from pathlib import Path

import pytest

from torchattr.bulk.shards import Shards, TakeByLease, TakeByRank, local_rank, rank_and_world
from torchattr.errors import FolderError, InputError

SHARDS = Shards(10, 4)


def none_done(shard: int) -> bool:
    return False


def test_shards_cover_each_id_once() -> None:
    for ids, size in ((10, 4), (8, 4), (3, 4), (1, 1)):
        shards = Shards(ids, size)
        found = [one for shard in range(len(shards)) for one in shards.positions(shard)]
        assert found == list(range(ids))
        assert all(
            shards.of(one) == shard
            for shard in range(len(shards))
            for one in shards.positions(shard)
        )


def test_batches_lie_within_a_shard() -> None:
    assert list(SHARDS.batches(0, 3)) == [[0, 1, 2], [3]]
    assert list(SHARDS.batches(2, 3)) == [[8, 9]]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_ranks_share_the_shards(world: int) -> None:
    taken = [list(TakeByRank(rank, world).taken(SHARDS, none_done)) for rank in range(world)]
    assert sorted(shard for own in taken for shard in own) == [0, 1, 2]


def test_shards_that_are_done_are_not_taken() -> None:
    assert list(TakeByRank().taken(SHARDS, lambda shard: shard == 1)) == [0, 2]
    assert TakeByRank(1, 2).due(Shards(20, 4), [1]) == [3]


def test_a_rank_outside_the_world_is_refused() -> None:
    with pytest.raises(InputError, match="rank must be below world"):
        TakeByRank(2, 2)


def test_two_processes_never_hold_the_same_lease(tmp_path: Path) -> None:
    first, second = (TakeByLease(tmp_path / "leases") for _ in range(2))
    one, other = first.taken(SHARDS, none_done), second.taken(SHARDS, none_done)
    assert [next(one), next(other), next(one)] == [0, 1, 2]
    assert next(other, None) is None
    first.close()
    second.close()
    assert os.listdir(tmp_path / "leases") == []


def test_a_lease_ends_with_its_shard(tmp_path: Path) -> None:
    taking, done = TakeByLease(tmp_path), set()
    for shard in taking.taken(SHARDS, done.__contains__):
        assert os.listdir(tmp_path) == [f"{shard:06d}"]
        done.add(shard)
        taking.left(shard)
    taking.close()
    assert (done, os.listdir(tmp_path)) == ({0, 1, 2}, [])


def test_the_lease_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "000000").write_text("{}")
    os.utime(tmp_path / "000000", (0, 0))
    (tmp_path / "000001").write_text("{}")
    taking = TakeByLease(tmp_path, seconds=60)
    assert list(taking.taken(SHARDS, none_done)) == [0, 2]
    taking.close()
    assert os.listdir(tmp_path) == ["000001"]


def test_a_lease_is_kept_while_its_process_lives(tmp_path: Path) -> None:
    taking = TakeByLease(tmp_path, seconds=0.04)
    taken = taking.taken(SHARDS, none_done)
    lease = tmp_path / f"{next(taken):06d}"
    os.utime(lease, (0, 0))
    for _ in range(1000):
        if lease.stat().st_mtime > 0:
            break
        taking._over.wait(0.01)
    assert lease.stat().st_mtime > 0
    taking.close()


def test_a_shard_that_was_done_meanwhile_is_left(tmp_path: Path) -> None:
    answers = iter([False, True, True, True])
    taking = TakeByLease(tmp_path)
    assert list(taking.taken(SHARDS, lambda shard: next(answers))) == []
    taking.close()
    assert os.listdir(tmp_path) == []


def test_leases_that_cannot_be_written_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    taking = TakeByLease(tmp_path / "file")
    with pytest.raises(FolderError, match="cannot write to"):
        next(taking.taken(SHARDS, none_done))
    taking.close()


def test_ranks_come_from_the_call_then_torchrun_then_slurm() -> None:
    slurm = {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"}
    both = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "0", **slurm}
    assert rank_and_world(0, 2, both) == (0, 2)
    assert rank_and_world(None, None, both) == (1, 4)
    assert rank_and_world(None, None, slurm) == (3, 8)
    assert (local_rank(both), local_rank(slurm), local_rank({})) == (0, 1, 0)


def test_half_a_rank_is_refused() -> None:
    with pytest.raises(InputError, match="belong together"):
        rank_and_world(0, None, {})
    with pytest.raises(InputError, match="RANK='x', which is no number"):
        rank_and_world(None, None, {"RANK": "x", "WORLD_SIZE": "2"})
