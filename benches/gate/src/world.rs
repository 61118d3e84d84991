//! 1,000 rules and subjects for them, in no engine's language.
//!
//! There are ten tools. 660 rules allow one file each to one tool, 330 forbid one each inside of what the last ten
//! rules allow: the folders of a tool's project, without what is private in them.

/// Tools, and projects: one each.
pub const TOOLS: usize = 10;
const EXACT_RULES: usize = 990;
const SUBJECTS: usize = 2_000;

/// A rule about one file.
pub struct ExactRule {
    pub tool: usize,
    pub path: String,
    pub allows: bool,
}

/// What is asked for.
pub struct Subject {
    pub tool: usize,
    pub path: String,
}

impl Subject {
    pub fn tool(&self) -> String {
        tool_name(self.tool)
    }
}

pub fn tool_name(tool: usize) -> String {
    format!("tool.{tool}")
}

pub struct World {
    pub exact: Vec<ExactRule>,
    pub subjects: Vec<Subject>,
}

/// The folder whose files a tool may use; `private/` below it and every `.env` it may not.
pub fn project(tool: usize) -> String {
    format!("/srv/project{tool}/")
}

/// The folder whose files every tool may use, but for `.env`.
pub const SHARED: &str = "/usr/share/";

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

impl World {
    pub fn new() -> Self {
        let exact = (0..EXACT_RULES)
            .map(|n| match n % 3 {
                0 => ExactRule {
                    tool: n % TOOLS,
                    path: format!("{}src/item{n}/secret.json", project(n % TOOLS)),
                    allows: false,
                },
                _ => ExactRule { tool: n % TOOLS, path: format!("/var/lib/item{n}/state.json"), allows: true },
            })
            .collect();
        let mut world = Self { exact, subjects: Vec::new() };
        let mut numbers = Numbers(7);
        world.subjects = (0..SUBJECTS).map(|_| world.subject(&mut numbers)).collect();
        world
    }

    pub fn rule_count(&self) -> usize {
        self.exact.len() + TOOLS
    }

    fn subject(&self, numbers: &mut Numbers) -> Subject {
        let tool = numbers.below(TOOLS);
        let path = match numbers.below(10) {
            // What an exact rule is about, half of them of another tool.
            0..3 => {
                let rule = &self.exact[numbers.below(EXACT_RULES)];
                let tool = if numbers.below(2) == 0 { rule.tool } else { tool };
                return Subject { tool, path: rule.path.clone() };
            }
            3..7 => project(tool) + &tail(numbers),
            7 => project(tool) + "private/" + &tail(numbers),
            8 => project(numbers.below(TOOLS)) + &tail(numbers) + "/.env",
            _ => SHARED.to_owned() + &tail(numbers),
        };
        Subject { tool, path }
    }
}

/// The rest of a path: one to twelve segments, few of them as many.
fn tail(numbers: &mut Numbers) -> String {
    const SEGMENTS: [&str; 8] = [
        "src",
        "module",
        "node_modules",
        "@babel+plugin-transform@7.24.1",
        "lib",
        "deeply",
        "nested",
        "index.d.ts.map",
    ];
    let depth = 1 + numbers.below(4) + numbers.below(4) * numbers.below(4);
    let segments: Vec<String> =
        (0..depth).map(|_| format!("{}{}", SEGMENTS[numbers.below(SEGMENTS.len())], numbers.below(100))).collect();
    segments.join("/")
}
