"""Data sets with one interface, `SegmentationDataModule`."""
