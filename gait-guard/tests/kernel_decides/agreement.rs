//! The kernel's walk, user space's walk of the same tables, the compiled policy and the reference evaluator, all asked
//! the same.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use gait_core::policy::compile::{CompiledPolicy, KindId, Limits};
use gait_core::policy::{Policy, Verdict, evaluate};
use gait_ebpf::op::Op;
use gait_ebpf::tables::{Effect, PATH_BYTES, number, outcome};
use gait_guard::bpf::image::Image;
use gait_guard::bpf::trial::{Place, Question, Trial};
use gait_guard::event::{Action, ExecObject, InetCall, Protocol, UnixName, UnixType};
use gait_guard::intent::{Subject, Translator, kernel_kind, kinds, path_op};

use super::dice::Dice;
use super::subjects::Subjects;

/// Subjects between two that the reference evaluator is asked about too: it takes a hundred times as long.
const REFERENCE_EVERY: u64 = 100;

/// Differences that are told in full.
const TOLD: usize = 5;

/// What was asked, and what differed.
#[derive(Debug, Default)]
pub struct Tally {
    pub subjects: u64,
    pub bytes: u64,
    pub longest: u64,
    pub not_utf8: u64,
    pub allowed: u64,
    pub denied: u64,
    pub asked: u64,
    pub compiled: u64,
    pub reference: u64,
    pub different: u64,
    pub told: Vec<String>,
}

impl Tally {
    /// The sum of both.
    pub fn add(&mut self, other: Self) {
        self.subjects += other.subjects;
        self.bytes += other.bytes;
        self.longest += other.longest;
        self.not_utf8 += other.not_utf8;
        self.allowed += other.allowed;
        self.denied += other.denied;
        self.asked += other.asked;
        self.compiled += other.compiled;
        self.reference += other.reference;
        self.different += other.different;
        self.told.extend(other.told);
    }

    /// Fails if anything differed, or if what was asked proves little: each of `effects` must have been said.
    pub fn agreed(self, what: &str, effects: &[Effect]) -> anyhow::Result<()> {
        println!(
            "  {what}: {} subjects, {} bytes, {} of 4095 or 4096, {} not UTF-8; allowed {}, denied {}, to be asked {}; \
             with the compiled policy {}, with the reference evaluator {}; different {}",
            self.subjects,
            self.bytes,
            self.longest,
            self.not_utf8,
            self.allowed,
            self.denied,
            self.asked,
            self.compiled,
            self.reference,
            self.different
        );
        ensure!(self.different == 0, "{} of {} differ: {:#?}", self.different, self.subjects, self.told);
        for effect in effects {
            let said = match effect {
                Effect::Allow => self.allowed,
                Effect::Deny => self.denied,
                Effect::Ask => self.asked,
            };
            ensure!(said > 0, "no subject was decided as {effect:?}");
        }
        ensure!(self.longest > 0 && self.not_utf8 > 0 && self.reference > 0, "some kind of subject was not drawn");
        Ok(())
    }
}

/// One policy in all of its forms.
pub struct Case {
    policy: Policy,
    compiled: CompiledPolicy,
    kinds: Vec<KindId>,
    verdicts: Vec<Verdict>,
    pub image: Image,
    translator: Translator,
    subjects: Subjects,
}

/// One subject: what the kernel is asked, and the action that it stands for.
struct Drawn {
    op: Op,
    value: Vec<u8>,
    domain: Option<Range<usize>>,
    place: Place,
    /// None for bytes that no action of a kernel has.
    action: Option<Action<'static>>,
}

impl Case {
    /// Compiles a policy as a run does; `None` if it is too large for that, which a run refuses.
    pub fn of(policy: Policy) -> anyhow::Result<Option<Self>> {
        let translator = Translator::new("agent", b"/w/p", "high")?;
        let context = Arc::new(translator.context().clone());
        let Ok(compiled) = CompiledPolicy::compile(&policy, &context, kinds(), &Limits::default()) else {
            return Ok(None);
        };
        let Ok(image) = Image::of(&compiled) else { return Ok(None) };
        let ids = Op::ALL.iter().map(|op| compiled.kind(&kernel_kind(*op)));
        let kinds = ids.collect::<Option<Vec<KindId>>>().context("an operation is not compiled")?;
        let (verdicts, subjects) = (compiled.verdicts().collect(), Subjects::of(&policy));
        Ok(Some(Self { policy, compiled, kinds, verdicts, image, translator, subjects }))
    }

    /// Asks about `count` random subjects.
    pub fn compare(&self, trial: &mut Trial, count: u64, dice: &mut Dice) -> anyhow::Result<Tally> {
        trial.fill(&self.image);
        self.compare_with_tables_as_they_are(trial, count, dice)
    }

    /// The same, whatever is in the kernel's tables.
    pub fn compare_with_tables_as_they_are(
        &self,
        trial: &mut Trial,
        count: u64,
        dice: &mut Dice,
    ) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        while tally.subjects < count {
            let left = (count - tally.subjects).min(gait_ebpf::trial::SUBJECTS as u64);
            let drawn: Vec<Drawn> = (0..left).map(|_| self.draw(dice)).collect();
            let questions: Vec<Question<'_>> = drawn.iter().map(Drawn::question).collect();
            for (drawn, answer) in drawn.iter().zip(trial.decide(&questions)?) {
                self.check(drawn, answer, &mut tally)?;
            }
        }
        Ok(tally)
    }

    fn draw(&self, dice: &mut Dice) -> Drawn {
        let op = *dice.pick(&Op::ALL);
        let place = if dice.once_in(2) { Place::AtTheEnd } else { Place::From(dice.below(PATH_BYTES)) };
        // What no kernel says: the tables are walked alike all the same.
        if dice.once_in(8) {
            let value = self.subjects.bytes(dice);
            let domain = is_host(op).then(|| {
                let end = dice.below(value.len() + 1);
                dice.below(end + 1)..end
            });
            // An end of 0 would say that there is no domain.
            let place = if is_host(op) { Place::From(1 + dice.below(64)) } else { place };
            let value = if is_host(op) { value[..value.len().min(4000)].to_vec() } else { value };
            let domain = domain.map(|domain| domain.start.min(value.len())..domain.end.min(value.len()));
            return Drawn { op, value, domain, place, action: None };
        }
        let action = self.action(op, dice);
        let subject = Subject::of(&action);
        let value = subject.value.into_owned();
        let domain = subject.domain.map(|domain| {
            let start = usize::from(value.first() == Some(&b'['));
            start..start + domain.len()
        });
        let action = (value.len() <= PATH_BYTES).then_some(action);
        Drawn { op, value, domain, place, action }
    }

    /// An action of this operation, as an engine would decode it.
    fn action(&self, op: Op, dice: &mut Dice) -> Action<'static> {
        let path = |dice: &mut Dice| Cow::Owned(self.subjects.path(dice));
        if let Some(op) = path_op(op) {
            return Action::Path { op, path: path(dice), via: None };
        }
        let call = match op {
            Op::UnixSendPath | Op::UnixSendOther | Op::SendHttp | Op::SendDns => InetCall::Send,
            Op::UnixBindPath | Op::UnixBindOther | Op::BindHttp | Op::BindDns => InetCall::Bind,
            _ => InetCall::Connect,
        };
        let is_dns = matches!(op, Op::ConnectDns | Op::SendDns | Op::BindDns);
        match op {
            Op::Exec => Action::Exec { object: ExecObject::Path(path(dice)), argv: Vec::new(), via: None },
            Op::ExecMemory => {
                let given = ExecObject::Memory(Cow::Owned(self.subjects.bytes(dice)));
                Action::Exec { object: given, argv: Vec::new(), via: None }
            }
            Op::UnixConnectPath | Op::UnixSendPath | Op::UnixBindPath => {
                Action::Unix { call, socket: UnixType::Stream, name: UnixName::Path(path(dice)) }
            }
            Op::UnixConnectOther | Op::UnixSendOther | Op::UnixBindOther => {
                let given = UnixName::Abstract(Cow::Owned(self.subjects.bytes(dice)));
                let name = if dice.once_in(5) { UnixName::Unnamed } else { given };
                Action::Unix { call, socket: UnixType::Dgram, name }
            }
            _ => Action::Inet { call, protocol: Protocol::Tcp, address: self.subjects.address(is_dns, dice) },
        }
    }

    fn check(&self, drawn: &Drawn, answer: Option<u32>, tally: &mut Tally) -> anyhow::Result<()> {
        let domain = drawn.domain.clone().map(|domain| &drawn.value[domain]);
        let walked = self.image.decide(drawn.op, &drawn.value, domain);
        tally.subjects += 1;
        tally.bytes += drawn.value.len() as u64;
        tally.longest += u64::from(drawn.value.len() >= PATH_BYTES - 1);
        tally.not_utf8 += u64::from(std::str::from_utf8(&drawn.value).is_err());
        let mut wrong = |what: String| {
            tally.different += 1;
            if tally.told.len() < TOLD {
                let value = String::from_utf8_lossy(&drawn.value[..drawn.value.len().min(200)]).into_owned();
                tally.told.push(format!("{:?} {value:?} {:?}: {what}", drawn.op, drawn.place));
            }
        };
        let Some(kernel) = answer else {
            wrong("the kernel decided nothing".to_owned());
            return Ok(());
        };
        if kernel != walked {
            wrong(format!("kernel {kernel:#x}, user space {walked:#x}"));
            return Ok(());
        }
        let Some(action) = &drawn.action else { return Ok(()) };
        let kind = self.kinds[drawn.op as usize];
        let verdict = self.compiled.decide(kind, &drawn.value, domain).verdict;
        let (said, effect) = (self.verdicts.get(number(kernel) as usize).copied(), effect(verdict));
        if said != Some(verdict) || kernel != outcome(number(kernel), effect) {
            wrong(format!("kernel {said:?} ({kernel:#x}), compiled policy {verdict:?}"));
            return Ok(());
        }
        if tally.compiled.is_multiple_of(REFERENCE_EVERY) {
            tally.reference += 1;
            let reference = evaluate(&self.policy, &self.translator.translate(action)?).verdict;
            if reference != verdict {
                wrong(format!("kernel and compiled policy {verdict:?}, reference evaluator {reference:?}"));
                return Ok(());
            }
        }
        tally.compiled += 1;
        match effect {
            Effect::Allow => tally.allowed += 1,
            Effect::Deny => tally.denied += 1,
            Effect::Ask => tally.asked += 1,
        }
        Ok(())
    }
}

impl Drawn {
    fn question(&self) -> Question<'_> {
        Question { op: self.op, value: &self.value, domain: self.domain.clone(), place: self.place }
    }
}

fn is_host(op: Op) -> bool {
    matches!(op, Op::ConnectHttp | Op::ConnectDns | Op::SendHttp | Op::SendDns | Op::BindHttp | Op::BindDns)
}

fn effect(verdict: Verdict) -> Effect {
    match verdict {
        Verdict::Allow | Verdict::DryRun => Effect::Allow,
        Verdict::Block => Effect::Deny,
        Verdict::RequireApproval => Effect::Ask,
    }
}
