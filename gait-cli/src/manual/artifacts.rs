//! Runpacks, regressions, scout.

use super::{Entry, example};

/// Answers that a verb gives wherever its input can't be used.
const UNUSABLE: &str = "wrong usage, or an input that is missing or can't be read";
const NOT_WRITTEN: &str = "a file could not be written";

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        path: &["demo"],
        examples: &[
            example("gait demo", "records run_demo and verifies it"),
            example(
                "gait demo --private-key signing.key",
                "the same, signed; then gait verify run_demo --profile strict --private-key signing.key",
            ),
        ],
        exits: &[
            ("0", "recorded and verified"),
            ("1", NOT_WRITTEN),
            ("2", "what was written does not verify"),
            ("6", "wrong usage, or a key that can't be used"),
        ],
        see: &["gait verify", "gait run record", "gait regress bootstrap"],
    },
    Entry {
        path: &["verify"],
        examples: &[
            example("gait verify run_demo", "digests, file list, and signatures if a key is at hand"),
            example(
                "gait verify run_demo --profile strict",
                "a run that this machine signed (gait exec, or the key of gait keys init)",
            ),
            example(
                "gait verify pack.zip --profile strict --public-key signer.pub",
                "a run that somebody else signed, whose public key you were given",
            ),
        ],
        exits: &[
            ("0", "ok"),
            ("2", "not ok: members missing, changed or undeclared, or no signature that holds"),
            ("6", "wrong usage, or a file or key that can't be used"),
        ],
        see: &["gait verify chain", "gait keys export-public", "docs/exit-codes.md"],
    },
    Entry {
        path: &["verify", "chain"],
        examples: &[
            example("gait verify chain --run run_demo", "the runpack alone"),
            example(
                "gait verify chain --run run_demo --trace trace.json --pack evidence.zip --public-key signer.pub",
                "three artifacts, one verdict",
            ),
        ],
        exits: &[
            ("0", "all of them are ok"),
            ("2", "one of them is not"),
            ("6", "wrong usage, or a file or key that can't be used"),
        ],
        see: &["gait verify", "gait trace verify", "gait guard verify"],
    },
    Entry {
        path: &["run", "record"],
        examples: &[
            example("gait run record run.json", "writes gait-out/runpack_<run_id>.zip"),
            example("gait run record --input run.json --run-id run_7 --out-dir packs --json", "named and placed"),
            example(
                "gait run record run.json --private-key signing.key",
                "signed; the answer says how to verify it with --profile strict",
            ),
        ],
        exits: &[("0", "recorded"), ("1", NOT_WRITTEN), ("2", "what was written does not verify"), ("6", UNUSABLE)],
        see: &["gait verify", "gait keys init", "gait run replay"],
    },
    Entry {
        path: &["run", "replay"],
        examples: &[
            example("gait run replay run_demo", "each intent with the result that was recorded, or a stub"),
            example("gait run replay run_a --policy new.yaml", "a guarded run, decided again under another policy"),
        ],
        exits: &[
            ("0", "every intent has a result or a stub; with --policy: no decision differs"),
            ("2", "results are missing; with --policy: a decision differs"),
            ("6", UNUSABLE),
            ("8", "real tools were asked for without every confirmation"),
        ],
        see: &["gait run diff", "gait run reduce", "docs/policy.md"],
    },
    Entry {
        path: &["run", "diff"],
        examples: &[
            example("gait run diff run_a run_b", "did two runs do the same?"),
            example("gait run diff run_a other.zip --privacy metadata --output diff.json", "by digests, into a file"),
        ],
        exits: &[
            ("0", "no difference"),
            ("1", NOT_WRITTEN),
            ("2", "the runs differ"),
            ("6", "wrong usage, or a side that can't be compared"),
        ],
        see: &["gait run replay", "gait regress run"],
    },
    Entry {
        path: &["run", "receipt"],
        examples: &[example("gait run receipt run_demo", "one line for a ticket; gait verify run_demo checks it")],
        exits: &[
            ("0", "printed"),
            ("1", "the run has a name that no footer can hold"),
            ("2", "the runpack does not verify"),
            ("6", UNUSABLE),
        ],
        see: &["gait verify"],
    },
    Entry {
        path: &["run", "reduce"],
        examples: &[
            example("gait run reduce run_a", "the smallest run that still has an intent without a result"),
            example("gait run reduce --from run_a --predicate non_ok_status --out small.zip", "one that failed"),
        ],
        exits: &[
            ("0", "reduced"),
            ("1", NOT_WRITTEN),
            ("6", "wrong usage, a runpack that can't be used, or one without such a fault"),
        ],
        see: &["gait run replay", "gait regress init"],
    },
    Entry {
        path: &["run", "seal"],
        examples: &[example("gait run seal run_20260304_1", "a run whose guard was killed becomes a runpack")],
        exits: &[
            ("0", "sealed"),
            ("1", NOT_WRITTEN),
            ("2", "the journal does not hold"),
            ("6", "wrong usage, the run goes on, or the key is not that of the run"),
        ],
        see: &["gait exec", "gait verify", "docs/limits.md"],
    },
    Entry {
        path: &["run", "inspect"],
        examples: &[
            example("gait run inspect run_20260304_1", "what it did and what was blocked, in the terminal"),
            example("gait run inspect run_20260304_1 --html page.html", "all of it in one file, for a browser"),
        ],
        exits: &[
            ("0", "shown"),
            ("1", NOT_WRITTEN),
            ("2", "the runpack does not verify, so nothing of it is shown"),
            ("6", UNUSABLE),
        ],
        see: &["gait verify", "gait run replay", "docs/inspect.md"],
    },
    Entry {
        path: &["migrate"],
        examples: &[
            example("gait migrate old.zip", "writes runpack_<run_id>_migrated.zip beside it"),
            example("gait migrate --input old.zip --out new.zip --private-key signing.key", "signed again"),
        ],
        exits: &[
            ("0", "written, as it was (no_change) or in the current form (migrated)"),
            ("1", NOT_WRITTEN),
            ("2", "what was written does not verify"),
            ("6", UNUSABLE),
        ],
        see: &["gait verify", "gait run record"],
    },
    Entry {
        path: &["regress", "init"],
        examples: &[
            example("gait regress init --from run_demo", "makes fixtures/run_demo and lists it in gait.yaml"),
            example("gait regress init --from pack.zip --name login", "under another name"),
        ],
        exits: &[("0", "made"), ("1", NOT_WRITTEN), ("6", UNUSABLE)],
        see: &["gait regress run", "gait regress bootstrap"],
    },
    Entry {
        path: &["regress", "run"],
        examples: &[
            example("gait regress run", "grades every fixture of gait.yaml"),
            example("gait regress run --junit gait-out/junit.xml --json", "for a CI job"),
        ],
        exits: &[
            ("0", "every grader passed"),
            ("1", NOT_WRITTEN),
            ("5", "a grader failed"),
            ("6", "wrong usage, or a fixture that can't be loaded"),
        ],
        see: &["gait regress init", "gait run diff", "gait scout signal"],
    },
    Entry {
        path: &["regress", "bootstrap"],
        examples: &[example("gait regress bootstrap --from run_demo --junit junit.xml", "from a run to a test in CI")],
        exits: &[
            ("0", "made, and every grader passed"),
            ("1", NOT_WRITTEN),
            ("5", "a grader failed"),
            ("6", "wrong usage, or a fixture that can't be made or loaded"),
        ],
        see: &["gait regress init", "gait regress run"],
    },
    Entry {
        path: &["scout", "snapshot"],
        examples: &[
            example("gait scout snapshot", "tools and servers of this folder"),
            example("gait scout snapshot --roots src,tools --policy policy.yaml --json", "and what a policy covers"),
        ],
        exits: &[("0", "written"), ("1", NOT_WRITTEN), ("6", UNUSABLE)],
        see: &["gait scout diff", "docs/policy.md"],
    },
    Entry {
        path: &["scout", "diff"],
        examples: &[example("gait scout diff before.json after.json", "what was added, removed or changed?")],
        exits: &[("0", "no drift"), ("1", NOT_WRITTEN), ("2", "drift"), ("6", UNUSABLE)],
        see: &["gait scout snapshot"],
    },
    Entry {
        path: &["scout", "signal"],
        examples: &[
            example("gait scout signal run_a run_b", "which runs are alike, and how bad are they?"),
            example("gait scout signal --runs run_a,run_b --regress regress_result.json", "with what failed in CI"),
        ],
        exits: &[("0", "written"), ("1", NOT_WRITTEN), ("6", UNUSABLE)],
        see: &["gait regress run", "gait run diff"],
    },
    Entry {
        path: &["guard", "pack"],
        examples: &[example("gait guard pack --run run_demo --template soc2 --out evidence.zip", "for an audit")],
        exits: &[("0", "written"), ("1", NOT_WRITTEN), ("6", UNUSABLE)],
        see: &["gait guard verify", "gait incident pack"],
    },
    Entry {
        path: &["guard", "verify"],
        examples: &[
            example("gait guard verify evidence.zip", "digests and file list"),
            example("gait guard verify evidence.zip --profile strict --public-key signer.pub", "and who signed it"),
        ],
        exits: &[("0", "ok"), ("2", "not ok"), ("6", "wrong usage, or a file or key that can't be used")],
        see: &["gait guard pack", "gait verify chain"],
    },
    Entry {
        path: &["incident", "pack"],
        examples: &[example("gait incident pack --from run_demo --window 6h", "a run and what is recorded around it")],
        exits: &[("0", "written"), ("1", NOT_WRITTEN), ("6", UNUSABLE)],
        see: &["gait guard pack", "gait guard verify"],
    },
    Entry {
        path: &["guard", "retain"],
        examples: &[
            example("gait guard retain --root gait-out --dry-run", "what would be deleted?"),
            example(
                "gait guard retain --root gait-out --pack-ttl 2160h --report-out report.json",
                "deletes, and reports",
            ),
        ],
        exits: &[
            ("0", "done"),
            ("1", "a file could not be deleted; the others were, and the report says which"),
            ("6", "wrong usage, or a folder that can't be read"),
        ],
        see: &["gait guard pack", "docs/formats/retention-report.md"],
    },
    Entry {
        path: &["guard", "encrypt"],
        examples: &[
            example("gait guard encrypt evidence.zip --key-env ARCHIVE_KEY", "the key is in a variable"),
            example(
                "gait guard encrypt evidence.zip --key-command secret-tool --key-command-args lookup,key,archive",
                "a program prints it",
            ),
        ],
        exits: &[
            ("0", "encrypted; the plain file stays"),
            ("1", "it can't be written"),
            ("6", "wrong usage, no key, or a file that can't be read"),
        ],
        see: &["gait guard decrypt", "docs/formats/encrypted-artifact.md"],
    },
    Entry {
        path: &["guard", "decrypt"],
        examples: &[example("gait guard decrypt evidence.zip.gaitenc --key-env ARCHIVE_KEY", "the file as it was")],
        exits: &[
            ("0", "decrypted, and it is what was encrypted"),
            ("1", "it can't be written"),
            ("6", "wrong usage, no key, the wrong key, or changed bytes"),
        ],
        see: &["gait guard encrypt", "docs/formats/encrypted-artifact.md"],
    },
    Entry {
        path: &["registry", "install"],
        examples: &[
            example(
                "gait registry install registry_pack.json --public-key publisher.pub",
                "a manifest that was downloaded, if this publisher signed it",
            ),
            example(
                "gait registry install registry_pack.json --public-key publisher.pub --pin sha256:0f3f59c27481ab294328f866dd09d1865545343758a8b615677df27518465ccb",
                "and no other",
            ),
            example(
                "gait registry install https://registry.example/baseline.json --allow-host registry.example --public-key publisher.pub",
                "from a server",
            ),
        ],
        exits: &[
            ("0", "installed and pinned"),
            ("2", "refused, for any reason that lies in the source, its server or the manifest"),
            ("6", "wrong usage, or a key that can't be used"),
        ],
        see: &["gait registry verify", "docs/formats/registry.md"],
    },
    Entry {
        path: &["registry", "list"],
        examples: &[example("gait registry list", "what is installed, with digests")],
        exits: &[("0", "listed, also if there is nothing"), ("6", "wrong usage, or a cache that can't be read")],
        see: &["gait registry verify", "docs/formats/registry.md"],
    },
    Entry {
        path: &["registry", "verify"],
        examples: &[example(
            "gait registry verify cache/baseline/2.1.0/bd0e/registry_pack.json --public-key publisher.pub",
            "signature, pin and publisher of what is installed",
        )],
        exits: &[
            ("0", "all hold"),
            ("2", "signature, pin or publisher does not"),
            ("6", "wrong usage, no key, or no manifest"),
        ],
        see: &["gait registry install", "docs/formats/registry.md"],
    },
];
