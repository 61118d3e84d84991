//! Compiling a policy and deciding by it. `cargo bench -p gait-core --bench policy`
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gait_core::intent::{Context, EndpointClass, TargetKind};
use gait_core::policy::compile::{CompiledPolicy, Kind, Limits};
use gait_core::policy::{Policy, Strictness, Variables};

fn context() -> Arc<Context> {
    Arc::new(Context {
        identity: "dev".to_owned(),
        risk_class: "high".to_owned(),
        workspace: "/home/dev/project".to_owned(),
        ..Context::default()
    })
}

fn read() -> Kind {
    Kind::new("fs.read", TargetKind::Path, "read", EndpointClass::FsRead)
}

/// The kinds of an engine, roughly.
fn kinds() -> Vec<Kind> {
    use EndpointClass::{FsDelete, FsRead, FsWrite, NetDns, NetHttp, ProcExec};
    let mut kinds = vec![read(), Kind::new("fs.list", TargetKind::Path, "list", FsRead)];
    let writes =
        ["write", "create", "truncate", "mkdir", "mknod", "symlink", "link", "rename", "chmod", "chown", "utimes"];
    kinds.extend(writes.map(|operation| Kind::new("fs.write", TargetKind::Path, operation, FsWrite)));
    kinds.extend(
        ["delete", "rmdir", "rename"].map(|operation| Kind::new("fs.delete", TargetKind::Path, operation, FsDelete)),
    );
    kinds.push(Kind::new("proc.exec", TargetKind::Path, "exec", ProcExec));
    kinds.push(Kind::new("net.unix", TargetKind::Path, "connect", FsWrite));
    kinds.push(Kind::new("net.connect", TargetKind::Host, "connect", NetHttp));
    kinds.push(Kind::new("net.send", TargetKind::Host, "send", NetDns));
    kinds
}

fn default_policy() -> Policy {
    let variables = Variables {
        workspace: "/home/dev/project".to_owned(),
        home: Some("/home/dev".to_owned()),
        tmp: Some("/tmp/gait-x".to_owned()),
    };
    Policy::parse(include_str!("../../policies/default.yaml"), Strictness::Strict).unwrap().expand(&variables).unwrap()
}

/// 1,000 rules: 500 exact files, and 500 tools each with patterns of their own.
fn thousand_rules() -> Policy {
    let mut text = String::from("default_verdict: block\nrules:\n");
    for n in 0..500 {
        text += &format!(
            "- {{name: exact{n}, priority: {n}, effect: block, match: {{target_values: [/srv/data/file{n}]}}}}\n\
             - {{name: tool{n}, priority: {n}, effect: allow, match: {{tool_names: [tool.{n}]}}, \
             endpoint: {{path_allowlist: [/srv/tool{n}/**], path_denylist: ['**/.secret{n}']}}}}\n"
        );
    }
    text +=
        "- {name: reads, priority: 1000, effect: allow, match: {tool_names: [fs.read]}, endpoint: {path_denylist: [";
    for n in 0..500 {
        text += &format!("'/home/*/dir{n}/**', '**/name{n}.key', ");
    }
    text += "/end]}}\n";
    Policy::parse(&text, Strictness::Strict).unwrap()
}

fn compile(policy: &Policy, kinds: Vec<Kind>) -> CompiledPolicy {
    CompiledPolicy::compile(policy, &context(), kinds, &Limits::default()).unwrap()
}

fn benches(c: &mut Criterion) {
    let default = default_policy();
    c.bench_function("compile the default policy", |b| {
        b.iter_batched(kinds, |kinds| compile(&default, kinds), BatchSize::SmallInput);
    });
    let thousand = thousand_rules();
    c.bench_function("compile 1,000 rules, one kind", |b| b.iter(|| compile(&thousand, vec![read()])));
    let paths: [(&str, &[u8]); 3] = [
        ("20 bytes", b"/etc/ld.so.cache-xyz"),
        ("60 bytes", b"/home/dev/project/src/deeply/nested/module/name_of_a_file.rs"),
        ("200 bytes", b"/home/dev/project/node_modules/.pnpm/@babel+plugin-transform-x@7.24.1_@babel+core@7.24.4/node_modules/@babel/plugin-transform-x/lib/deeply/nested/module/with/a/long/path/name_of_a_file_in_it_x.js.map"),
    ];
    for (title, policy) in [("default policy", &default), ("1,000 rules", &thousand)] {
        let compiled = compile(policy, vec![read()]);
        let kind = compiled.kind(&read()).unwrap();
        for (length, path) in paths {
            c.bench_function(&format!("decide by {title}, {length}"), |b| {
                b.iter(|| compiled.decide(kind, black_box(path), None));
            });
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
