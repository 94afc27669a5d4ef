//! The contract's own rules, held against the descriptors: what a client's developer relies on in every file.


mod rules;
mod words;
