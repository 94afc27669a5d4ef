//! The contract's own rules, held against the descriptors: what a client's developer relies on in
//! every file.

mod go;
mod rules;
mod words;
