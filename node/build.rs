//! How a module is linked that Node.js loads.

fn main() {
    napi_build::setup();
}
