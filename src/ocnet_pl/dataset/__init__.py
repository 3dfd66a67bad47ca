"""Data sets under one interface: `SegmentationDataModule` says what it takes to be one."""
