//! Stock generators' output for other languages; Python imports and uses it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Imports every generated module, reads every stub, and passes every field of every message as a
/// keyword argument, which fails for reserved words.
const USE: &str = r#"
import ast, importlib, pathlib, sys

root = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(root))
modules = messages = fields = 0
for path in sorted(root.rglob("*.pyi")):
    ast.parse(path.read_text(encoding="utf-8"), str(path))
for path in sorted(root.rglob("*.py")):
    module = importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
    modules += 1
    descriptor = getattr(module, "DESCRIPTOR", None)
    for name, message in descriptor.message_types_by_name.items() if descriptor else ():
        messages += 1
        for field in message.fields:
            eval(f"kind({field.name}=None)", {"kind": getattr(module, name)})
            fields += 1
print(f"{modules} modules, {messages} messages, {fields} fields")
assert modules > 10 and messages > 100 and fields > 400
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn protos() -> Vec<String> {
    api::POOL
        .files()
        .filter(|file| file.package_name().starts_with("remit."))
        .map(|file| file.name().to_owned())
        .collect()
}

/// Generates code into a folder of its own. `compiler` is the command, `options` are protoc's
/// output options.
fn generate(compiler: &mut Command, options: &[&str]) -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    let proto = root().join("proto");
    let generated = compiler
        .arg(format!("-I{}", proto.display()))
        .arg(format!("-I{}", proto.join("vendor").display()))
        .args(
            options
                .iter()
                .map(|option| format!("--{option}={}", out.path().display())),
        )
        .args(protos())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&generated.stderr);
    assert!(generated.status.success(), "{options:?}: {stderr}");
    out
}

#[test]
fn python_imports_and_uses_what_is_generated() {
    let Some(python) = testkit::python::interpreter() else {
        return;
    };
    let compiler = &mut Command::new(&python);
    let out = generate(
        compiler.args(["-m", "grpc_tools.protoc"]),
        &["python_out", "pyi_out", "grpc_python_out"],
    );
    let used = Command::new(&python)
        .args(["-c", USE])
        .arg(out.path())
        .output()
        .unwrap();
    assert!(used.status.success(), "{}", String::from_utf8_lossy(&used.stderr));
}

#[test]
fn other_languages_generate() {
    let Some(python) = testkit::python::interpreter() else {
        return;
    };
    for (option, ending) in [
        ("java_out", "java"),
        ("kotlin_out", "kt"),
        ("csharp_out", "cs"),
        ("cpp_out", "h"),
    ] {
        let out = generate(&mut Command::new(python.with_file_name("protoc")), &[option]);
        assert!(count(out.path(), ending) >= protos().len(), "{option}");
    }
}

/// Files with an extension, in a folder and below.
fn count(folder: &Path, ending: &str) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path.is_dir() {
            true => count(&path, ending),
            false => usize::from(path.extension().is_some_and(|found| found == ending)),
        })
        .sum()
}
