"""A CASM peer on py-libp2p, for interoperability tests."""
