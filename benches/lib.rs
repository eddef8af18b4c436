//! Nothing to build here: the benches are in `benches/`.
