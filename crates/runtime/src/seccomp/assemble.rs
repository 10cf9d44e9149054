//! From decisions to classic BPF: a binary search over the call's number, then comparisons of its
//! arguments. Knows nothing about names, profiles or the kernel that will run the program.
//!
//! ```text
//! ld arch ─ jeq x86_64 ─ ld nr ─ jge 158 ─┬─ jge 231 ─┬─ …          jumps lead forward only;
//!              └ jeq i386 ─ …             │           └─ ret ALLOW   a conditional one reaches
//!                   └ ret KILL            └─ jge 72 ─ …              at most 255 instructions
//! ```
//! The program is laid out from its end to its beginning: every target is then placed before the
//! jump that needs it, and a target out of reach gets a copy (`ret`) or a stepping stone (`ja`).
//! Only instructions that the kernel's own constant-action analysis understands decide about calls
//! without argument rules, so those never run the program at all (action cache, Linux 5.11).
//!
//! Source: `Documentation/networking/filter.rst`, `include/uapi/linux/seccomp.h`, seccomp(2).

use std::collections::HashMap;

use sys::seccomp::Insn;

/// Load the 32-bit word at an offset of `struct seccomp_data`.
pub(super) const LOAD: u16 = 0x20;
/// And the accumulator with a constant.
pub(super) const AND: u16 = 0x54;
/// Jump always.
pub(super) const JUMP: u16 = 0x05;
/// Jump if equal.
pub(super) const JEQ: u16 = 0x15;
/// Jump if greater, unsigned.
pub(super) const JGT: u16 = 0x25;
/// Jump if greater or equal, unsigned.
pub(super) const JGE: u16 = 0x35;
/// Return a constant.
pub(super) const RETURN: u16 = 0x06;

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

/// How an argument is compared with `value`, unsigned and in 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The bits of the mask equal the value's.
    MaskedEqual {
        mask: u64,
    },
}

/// One condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    /// 0 to 5.
    pub argument: u8,
    pub compare: Compare,
    pub value: u64,
}

/// What happens to a call: the first alternative whose conditions all hold decides, else
/// `otherwise`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Decision {
    pub alternatives: Vec<(Vec<Condition>, u32)>,
    pub otherwise: u32,
}

impl Decision {
    /// The same `SECCOMP_RET_*` value whatever the arguments are.
    pub(super) fn always(action: u32) -> Decision {
        Decision { alternatives: Vec::new(), otherwise: action }
    }
}

/// The decisions about all calls that arrive under one `AUDIT_ARCH_*` value.
pub(super) struct Section {
    pub audit_arch: u32,
    /// Sorted by number, starting with 0: each decision reaches to the next entry's number.
    pub spans: Vec<(u32, Decision)>,
}

/// Lays out the whole program; a call under another architecture gets `foreign`.
pub(super) fn assemble(sections: &[Section], foreign: u32) -> Vec<Insn> {
    let mut out = Assembler::default();
    let mut next = out.ret(foreign);
    for section in sections.iter().rev() {
        let tree = out.search(&section.spans);
        let entry = out.load(OFFSET_NUMBER, tree);
        next = out.branch(JEQ, section.audit_arch, entry, next);
    }
    out.load(OFFSET_ARCH, next);
    out.reversed.reverse();
    out.reversed
}

/// The place of an instruction, counted from the program's end.
type Place = usize;

#[derive(Default)]
struct Assembler<'a> {
    reversed: Vec<Insn>,
    returns: HashMap<u32, Place>,
    decisions: HashMap<&'a Decision, Place>,
}

/// The longest conditional jump, less the two stepping stones that one branch may add.
const REACH: usize = u8::MAX as usize - 2;

impl<'a> Assembler<'a> {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Place {
        self.reversed.push(Insn { code, jt, jf, k });
        self.reversed.len() - 1
    }

    /// The number of instructions between the next one to be placed and `place`.
    fn distance(&self, place: Place) -> usize {
        self.reversed.len() - 1 - place
    }

    fn ret(&mut self, action: u32) -> Place {
        match self.returns.get(&action) {
            Some(&place) if self.distance(place) <= REACH => place,
            _ => {
                let place = self.push(RETURN, 0, 0, action);
                self.returns.insert(action, place);
                place
            }
        }
    }

    /// Loads a word and goes on at `next`.
    fn load(&mut self, offset: u32, next: Place) -> Place {
        self.fall_to(next);
        self.push(LOAD, 0, 0, offset)
    }

    /// Makes sure that what is placed now continues at `next`.
    fn fall_to(&mut self, next: Place) {
        let distance = self.distance(next);
        if distance > 0 {
            let far = u32::try_from(distance).unwrap_or(u32::MAX);
            self.push(JUMP, 0, 0, far);
        }
    }

    fn branch(&mut self, code: u16, operand: u32, yes: Place, no: Place) -> Place {
        if yes == no {
            self.fall_to(yes);
            return self.reversed.len() - 1;
        }
        let yes = self.near(yes);
        let no = self.near(no);
        let (to_yes, to_no) = (self.offset(yes), self.offset(no));
        self.push(code, to_yes, to_no, operand)
    }

    fn offset(&self, place: Place) -> u8 {
        u8::try_from(self.distance(place)).expect("`near` brought the target within reach")
    }

    /// A place within reach that does what `place` does.
    fn near(&mut self, place: Place) -> Place {
        if self.distance(place) <= REACH {
            return place;
        }
        let target = self.reversed[place];
        if target.code == RETURN {
            return self.ret(target.k);
        }
        let far = u32::try_from(self.distance(place)).unwrap_or(u32::MAX);
        self.push(JUMP, 0, 0, far)
    }

    /// The binary search over `spans`, whose first begins at or below every number that gets here.
    fn search(&mut self, spans: &'a [(u32, Decision)]) -> Place {
        let (left, right) = spans.split_at(spans.len() / 2);
        match (left, right) {
            ([], [(_, decision)]) => self.decision(decision),
            (_, [(middle, _), ..]) => {
                let high = self.search(right);
                let low = self.search(left);
                self.branch(JGE, *middle, high, low)
            }
            (_, []) => unreachable!("a section has at least the span that begins at 0"),
        }
    }

    fn decision(&mut self, decision: &'a Decision) -> Place {
        if decision.alternatives.is_empty() {
            return self.ret(decision.otherwise);
        }
        if let Some(&place) = self.decisions.get(decision) {
            return place;
        }
        let mut next = self.ret(decision.otherwise);
        for (conditions, action) in decision.alternatives.iter().rev() {
            let mut yes = self.ret(*action);
            for condition in conditions.iter().rev() {
                yes = self.condition(*condition, yes, next);
            }
            next = yes;
        }
        self.decisions.insert(decision, next);
        next
    }

    fn condition(&mut self, condition: Condition, yes: Place, no: Place) -> Place {
        let Condition { argument, compare, value } = condition;
        match compare {
            Compare::Equal => self.masked(argument, u64::MAX, value, (yes, no)),
            Compare::NotEqual => self.masked(argument, u64::MAX, value, (no, yes)),
            Compare::MaskedEqual { mask } => self.masked(argument, mask, value, (yes, no)),
            Compare::Greater => self.ordered(argument, JGT, value, (yes, no)),
            Compare::LessOrEqual => self.ordered(argument, JGT, value, (no, yes)),
            Compare::GreaterOrEqual => self.ordered(argument, JGE, value, (yes, no)),
            Compare::Less => self.ordered(argument, JGE, value, (no, yes)),
        }
    }

    /// `argument & mask == value & mask`, half by half; a half that the mask empties costs nothing.
    fn masked(&mut self, argument: u8, mask: u64, value: u64, to: (Place, Place)) -> Place {
        let (mut yes, no) = to;
        let (offset_low, offset_high) = halves_of(argument);
        let (mask_low, mask_high) = split(mask);
        let (value_low, value_high) = split(value & mask);
        let halves = [(offset_low, mask_low, value_low), (offset_high, mask_high, value_high)];
        for (offset, mask, value) in halves.into_iter().filter(|half| half.1 != 0) {
            yes = self.branch(JEQ, value, yes, no);
            if mask != u32::MAX {
                self.fall_to(yes);
                yes = self.push(AND, 0, 0, mask);
            }
            yes = self.load(offset, yes);
        }
        yes
    }

    /// `argument > value` (`JGT`) or `argument >= value` (`JGE`), the high half first.
    fn ordered(&mut self, argument: u8, code: u16, value: u64, to: (Place, Place)) -> Place {
        let (yes, no) = to;
        let (offset_low, offset_high) = halves_of(argument);
        let (value_low, value_high) = split(value);
        let low = self.branch(code, value_low, yes, no);
        let low = self.load(offset_low, low);
        let tie = self.branch(JEQ, value_high, low, no);
        let high = self.branch(JGT, value_high, yes, tie);
        self.load(offset_high, high)
    }
}

/// The offsets of an argument's low and high word; all supported architectures are little-endian.
fn halves_of(argument: u8) -> (u32, u32) {
    let low = OFFSET_ARGS + 8 * u32::from(argument);
    (low, low + 4)
}

/// The low and the high half.
#[allow(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
const fn split(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}
