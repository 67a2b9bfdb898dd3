//! Compiles the wire contracts with protox, so that no `protoc` has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(["proto/log.proto", "proto/peer.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        // A derived Debug would print bodies, keys and values; secrets.rs gives these types a safe one.
        .skip_debug([
            "conclave.log.Write",
            "conclave.peer.ForwardRequest",
            "conclave.peer.ForwardResponse",
            "conclave.peer.Header",
            "conclave.peer.UnsealResponse",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
