from torchattr.bulk.sources.numbering import number_id, numbered


def test_ids_of_numbers_sort_as_numbers_do_whatever_their_count():
    ids = numbered(1200)
    assert ids == sorted(ids)
    assert ids[:7] == numbered(7)
    assert ids[42] == number_id(42)
