//! MeMS.
