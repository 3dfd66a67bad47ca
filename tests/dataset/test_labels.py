import numpy as np

from ocnet_pl.dataset.labels import UNKNOWN, decoding_table, encoding_table, mirroring_table


def test_encoding_takes_the_lowest_id() -> None:
    encoding = encoding_table(decoding_table({3: 255, 7: 0, 9: 1, 8: 1}))
    assert encoding[:3].tolist() == [7, 8, 3]
    assert encoding[255] == 3


def test_ids_without_an_entry_are_unknown() -> None:
    table = decoding_table({1: 0})
    assert table[[0, 1, 2, 255]].tolist() == [UNKNOWN, 0, UNKNOWN, 255]


def test_mirroring_maps_stored_ids() -> None:
    table = decoding_table({10: 0, 20: 1, 30: 2})
    mirroring = mirroring_table(table, [(1, 2)])
    assert mirroring is not None
    assert mirroring[[10, 20, 30, 255]].tolist() == [10, 30, 20, 255]
    assert np.array_equal(mirroring[mirroring], np.arange(256))
    assert mirroring_table(table, []) is None
