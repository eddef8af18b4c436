//! A connection to a relay.
