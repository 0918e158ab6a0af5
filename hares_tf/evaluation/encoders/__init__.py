"""Any handle -> Encoder: the interface is probed once and stated."""
