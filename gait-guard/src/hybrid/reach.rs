//! What a policy can say about all that lies at and below a folder, read off its tables.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use gait_core::policy::Verdict;
use gait_core::policy::compile::{Ask, Automata, CompiledPolicy};
use gait_ebpf::op::Op;

use crate::intent::kernel_kind;

/// What is said about a folder and everything that can be below it, now or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Reading is allowed, all of it.
    All,
    /// None of it.
    None,
    /// Some of it.
    Mixed {
        /// Patterns that start at the root tell the places apart: a denied folder has one place.
        by_place: bool,
        /// A pattern for any depth has begun with the name of this folder (`.config` of `**/.config/gh/**`).
        begun: bool,
    },
}

/// What the policy says about reading and listing.
pub struct Reading<'a> {
    /// Reading, then listing.
    kinds: [Asked<'a>; 2],
}

/// How one of them is decided.
enum Asked<'a> {
    Table(Table<'a>),
    Always(bool),
}

/// Where the walk is: for each table the rows of its two automata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    rows: Vec<[u32; 2]>,
    is_root: bool,
}

struct Table<'a> {
    automata: Automata<'a>,
    join: &'a [u32],
    width: u32,
    allowed: Rc<[bool]>,
    /// Row of the floating automaton behind a name that begins no pattern, and a `/`.
    rest: u32,
    /// What that name itself comes to.
    unremarkable: u32,
    /// By row, and whether that is the root's.
    below: RefCell<HashMap<(u32, bool), Ends>>,
}

/// End classes.
type Ends = Rc<BTreeSet<u32>>;

/// A name that no pattern begins with.
const UNREMARKABLE: &[u8] = b"/\x01";

impl<'a> Reading<'a> {
    /// The tables of `policy`. A kind that was not compiled is denied.
    pub fn of(policy: &'a CompiledPolicy) -> Self {
        let allowed: Rc<[bool]> =
            policy.verdicts().map(|verdict| matches!(verdict, Verdict::Allow | Verdict::DryRun)).collect();
        let automata: Vec<Automata<'a>> = policy.automata().collect();
        let joins: Vec<&'a [u32]> = policy.joins().collect();
        let asked = |op: Op| match policy.kind(&kernel_kind(op)).and_then(|kind| policy.ask(kind)) {
            Some(Ask::Value { automata: number, join, width, .. }) => {
                let (automata, join) = (automata[number as usize], joins[join as usize]);
                Asked::Table(Table::new(automata, join, width, Rc::clone(&allowed)))
            }
            Some(Ask::Constant(number)) => Asked::Always(allowed.get(number as usize).copied().unwrap_or(false)),
            _ => Asked::Always(false),
        };
        Self { kinds: [asked(Op::Read), asked(Op::List)] }
    }

    /// Before the first byte.
    pub fn start(&self) -> Place {
        let starts = |asked: &Asked<'_>| match asked {
            Asked::Table(table) => table.automata.starts,
            Asked::Always(_) => [0; 2],
        };
        Place { rows: self.kinds.iter().map(starts).collect(), is_root: true }
    }

    /// Behind `bytes`.
    pub fn step(&self, place: &Place, bytes: &[u8]) -> Place {
        let step = |(asked, rows): (&Asked<'_>, &[u32; 2])| match asked {
            Asked::Table(table) => rows.map(|row| table.step(row, bytes)),
            Asked::Always(_) => *rows,
        };
        let rows = self.kinds.iter().zip(&place.rows).map(step).collect();
        Place { rows, is_root: place.is_root && bytes.is_empty() }
    }

    /// Whether a file that has the name walked so far may be read.
    pub fn allows(&self, place: &Place) -> bool {
        match (&self.kinds[0], place.rows.first()) {
            (Asked::Table(table), Some([anchored, floating])) => {
                table.means(table.end(*anchored), table.end(*floating))
            }
            (Asked::Table(_), None) => false,
            (Asked::Always(is_allowed), _) => *is_allowed,
        }
    }

    /// About the folder that has the name walked so far, and all below.
    pub fn span(&self, place: &Place) -> Span {
        let span = |(asked, rows): (&Asked<'_>, &[u32; 2])| match asked {
            Asked::Table(table) => table.span(*rows, place.is_root),
            Asked::Always(true) => Span::All,
            Asked::Always(false) => Span::None,
        };
        self.kinds.iter().zip(&place.rows).map(span).reduce(both).unwrap_or(Span::None)
    }
}

fn both(one: Span, other: Span) -> Span {
    match (one, other) {
        (one, other) if one == other => one,
        (Span::Mixed { by_place, begun }, Span::Mixed { by_place: also, begun: so }) => {
            Span::Mixed { by_place: by_place || also, begun: begun || so }
        }
        (mixed @ Span::Mixed { .. }, _) | (_, mixed @ Span::Mixed { .. }) => mixed,
        // One may be read and not listed, or the other way round, wherever it is.
        _ => Span::Mixed { by_place: true, begun: false },
    }
}

impl<'a> Table<'a> {
    fn new(automata: Automata<'a>, join: &'a [u32], width: u32, allowed: Rc<[bool]>) -> Self {
        let mut table = Self { automata, join, width, allowed, rest: 0, unremarkable: 0, below: RefCell::default() };
        let name = table.step(automata.starts[1], UNREMARKABLE);
        (table.rest, table.unremarkable) = (table.step(name, b"/"), table.end(name));
        table
    }

    fn step(&self, row: u32, bytes: &[u8]) -> u32 {
        let Automata { classes, cells, .. } = self.automata;
        bytes.iter().fold(row, |row, byte| cells[(row + u32::from(classes[usize::from(*byte)])) as usize])
    }

    fn end(&self, row: u32) -> u32 {
        self.automata.cells[(row + self.automata.width - 1) as usize]
    }

    fn means(&self, anchored: u32, floating: u32) -> bool {
        let number = self.join.get((anchored * self.width + floating) as usize);
        number.and_then(|number| self.allowed.get(*number as usize)).copied().unwrap_or(false)
    }

    fn span(&self, [anchored, floating]: [u32; 2], is_root: bool) -> Span {
        let (anchored, floating_ends) = (self.ends(anchored, is_root), self.ends(floating, is_root));
        let ends = anchored.iter().flat_map(|one| floating_ends.iter().map(move |two| self.means(*one, *two)));
        match mixture(ends) {
            Mixture::Yes => Span::All,
            Mixture::No => Span::None,
            Mixture::Both => Span::Mixed {
                by_place: mixture(anchored.iter().map(|one| self.means(*one, self.unremarkable))) == Mixture::Both,
                begun: self.step(floating, b"/") != self.rest,
            },
        }
    }

    /// The end classes of the name walked so far and of all that continues it with a `/` and more. The name of the root
    /// is that `/` itself.
    fn ends(&self, row: u32, is_root: bool) -> Ends {
        if let Some(known) = self.below.borrow().get(&(row, is_root)) {
            return Rc::clone(known);
        }
        let inside = self.step(row, b"/");
        let slash = u32::from(self.automata.classes[usize::from(b'/')]);
        let columns = self.automata.width - 1;
        let next = |row: u32, column: u32| self.automata.cells[(row + column) as usize];
        let mut seen: BTreeSet<u32> = BTreeSet::new();
        let mut left: Vec<u32> =
            (0..columns).filter(|column| *column != slash).map(|column| next(inside, column)).collect();
        while let Some(row) = left.pop() {
            if seen.insert(row) {
                left.extend((0..columns).map(|column| next(row, column)));
            }
        }
        let own = if is_root { inside } else { row };
        let ends: Ends = Rc::new(seen.iter().chain([&own]).map(|row| self.end(*row)).collect());
        self.below.borrow_mut().insert((row, is_root), Rc::clone(&ends));
        ends
    }
}

#[derive(PartialEq, Eq)]
enum Mixture {
    Yes,
    No,
    Both,
}

fn mixture(mut values: impl Iterator<Item = bool>) -> Mixture {
    let Some(first) = values.next() else { return Mixture::No };
    match (first, values.all(|value| value == first)) {
        (_, false) => Mixture::Both,
        (true, true) => Mixture::Yes,
        (false, true) => Mixture::No,
    }
}

#[cfg(test)]
mod tests {
    use gait_core::policy::{Policy, Strictness};
    use proptest::prelude::*;

    use super::*;
    use crate::intent::Translator;
    use crate::session::PolicyRules;

    fn rules(allow: &[&str], deny: &[&str]) -> PolicyRules {
        let list = |patterns: &[&str]| patterns.iter().map(|p| format!("\"{p}\"")).collect::<Vec<_>>().join(", ");
        let text = format!(
            "schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: block\nrules:\n\
             - name: r\n  priority: 1\n  effect: allow\n  match: {{endpoint_classes: [fs.read]}}\n  \
             endpoint: {{path_allowlist: [{}], path_denylist: [{}]}}\n",
            list(allow),
            list(deny)
        );
        let context = Translator::new("someone", b"/w", "high").unwrap().context().clone();
        PolicyRules::new(Policy::parse(&text, Strictness::Strict).unwrap(), context).unwrap()
    }

    fn span(rules: &PolicyRules, path: &str) -> Span {
        let reading = Reading::of(rules.tables());
        let bytes = if path == "/" { "" } else { path };
        reading.span(&reading.step(&reading.start(), bytes.as_bytes()))
    }

    fn mixed(by_place: bool, begun: bool) -> Span {
        Span::Mixed { by_place, begun }
    }

    #[test]
    fn places_are_told_from_names() {
        let rules = rules(&["/**"], &["/etc/shadow", "**/.env", "**/.config/gh/**", "**/.ssh/**"]);
        for (path, expected) in [
            ("/", mixed(true, false)),
            ("/etc", mixed(true, false)),
            ("/usr", mixed(false, false)),
            ("/home/u", mixed(false, false)),
            ("/home/u/.config", mixed(false, true)),
            ("/home/u/.config/vim", mixed(false, false)),
            ("/home/u/.config/gh", Span::None),
            ("/home/u/.ssh", Span::None),
            ("/home/u/.sshx", mixed(false, false)),
        ] {
            assert_eq!(span(&rules, path), expected, "{path}");
        }
    }

    #[test]
    fn where_nothing_is_denied_all_is_open() {
        let rules = rules(&["/usr/**", "/w/**"], &["/w/secret/**"]);
        for (path, expected) in [
            ("/", mixed(true, false)),
            ("/usr", Span::All),
            ("/usr/lib", Span::All),
            ("/usrx", Span::None),
            ("/w", mixed(true, false)),
            ("/w/a", Span::All),
            ("/w/secret", Span::None),
            ("/w/secret/a", Span::None),
        ] {
            assert_eq!(span(&rules, path), expected, "{path}");
        }
    }

    #[test]
    fn a_policy_without_patterns_is_a_constant() {
        let context = Translator::new("someone", b"/w", "high").unwrap().context().clone();
        let policy = |verdict: &str| {
            let text =
                format!("schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: {verdict}\nrules: []\n");
            PolicyRules::new(Policy::parse(&text, Strictness::Strict).unwrap(), context.clone()).unwrap()
        };
        assert_eq!(span(&policy("allow"), "/"), Span::All);
        assert_eq!(span(&policy("block"), "/usr"), Span::None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// The two answers that rights are given or withheld by hold for whatever lies below.
        #[test]
        fn what_is_said_of_a_folder_holds_for_all_below(
            allow in prop::collection::vec(prop::sample::select(vec!["/**", "/a/**", "/a/b/*", "**/c", "/b", "**/a/**"]), 1..3),
            deny in prop::collection::vec(prop::sample::select(vec!["/a/b/**", "**/c", "/b/*/a", "**/b/**", "/c", "**/a/c"]), 0..3),
            folder in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "abc"]), 0..3),
            below in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "abc"]), 0..4),
        ) {
            let rules = rules(&allow, &deny);
            let reading = Reading::of(rules.tables());
            let path = |names: &[&str]| names.iter().map(|name| format!("/{name}")).collect::<String>();
            let at = reading.step(&reading.start(), path(&folder).as_bytes());
            let whole = path(&folder) + &path(&below);
            let inside = reading.step(&reading.start(), if whole.is_empty() { b"/" } else { whole.as_bytes() });
            match reading.span(&at) {
                Span::All => prop_assert!(reading.allows(&inside), "{whole}"),
                Span::None => prop_assert!(!reading.allows(&inside), "{whole}"),
                Span::Mixed { .. } => {}
            }
        }
    }
}
