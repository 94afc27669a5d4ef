//! Compiles `proto/` without `protoc`: protox parses, tonic's generator writes Rust.

use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = PathBuf::from("../../proto");
    let files = [
        "error/v1/error",
        "event/v1/event",
        "intake/v1/intake",
        "intake/v1/evidence",
        "intake/v1/category",
        "intake/v1/intake_inbound",
        "routing/v1/routing",
        "routing/v1/directory",
        "routing/v1/notice",
        "routing/v1/routing_inbound",
        "routing/v1/rule_set",
        "audit/v1/audit",
        "audit/v1/audit_inbound",
        "operations/v1/operations",
    ]
    .map(|file| proto.join(format!("remit/{file}.proto")))
    .into_iter()
    // They travel in the details of errors, and reflection tells them to clients.
    .chain(["status", "error_details"].map(|file| proto.join(format!("vendor/google/rpc/{file}.proto"))))
    .collect::<Vec<_>>();
    println!("cargo::rerun-if-changed={}", proto.display());

    let mut compiler = protox::Compiler::new([&proto.join("vendor"), &proto])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(&files)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    // Messages know their full names, which their JSON form needs.
    let mut config = prost_build::Config::new();
    config.enable_type_names();
    let grpc = std::env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure()
        .build_client(grpc)
        .build_server(grpc)
        // Bytes that are passed on are not copied, and maps encode in one order: facts are
        // committed to as bytes.
        .bytes(".")
        .btree_map(".")
        .codec_path("crate::codec::TextCodec")
        .include_file("remit.rs")
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(prost_types_set(&compiler)?, config)?;
    Ok(())
}

/// The same descriptors in the type that the generator takes.
fn prost_types_set(compiler: &protox::Compiler) -> Result<tonic_prost_build::FileDescriptorSet, prost::DecodeError> {
    tonic_prost_build::FileDescriptorSet::decode(compiler.file_descriptor_set().encode_to_vec().as_slice())
}
