//! Changes of files in LLB (`FileOp`). Knows no other operation.

use bollard_buildkit_proto::pb;
use build::graph::{Base, Change, Copy, File, FileAction, Mode, OpKind, Owner, Unpack, Who};

use super::{LlbError, MAX_PARTS, text, texts};

/// Changes of files; `inputs` is how many the operation has.
pub(super) fn file(op: &pb::FileOp, inputs: usize) -> Result<OpKind, LlbError> {
    if op.actions.len() > MAX_PARTS {
        return Err(LlbError::TooMany("actions of one operation", MAX_PARTS));
    }
    let count = inputs + op.actions.len();
    let actions = op.actions.iter().map(|action| self::action(action, (inputs, count)));
    Ok(OpKind::File(File { actions: actions.collect::<Result<_, _>>()? }))
}

fn action(action: &pb::FileAction, bounds: (usize, usize)) -> Result<FileAction, LlbError> {
    use pb::file_action::Action;
    let base = base(action.input, bounds)?;
    let owner = |owner: &Option<pb::ChownOpt>| owner.as_ref().map(|o| self::owner(o, bounds));
    let change = match &action.action {
        Some(Action::Copy(copy)) => self::copy(copy, action.secondary_input, bounds)?,
        Some(Action::Mkfile(file)) => Change::Mkfile {
            path: text("path", &file.path)?,
            mode: mode(file.mode)?.unwrap_or(0o644),
            data: file.data.clone(),
            owner: owner(&file.owner).transpose()?,
            time_ns: time(file.timestamp),
        },
        Some(Action::Mkdir(dir)) => Change::Mkdir {
            path: text("path", &dir.path)?,
            mode: mode(dir.mode)?.unwrap_or(0o755),
            parents: dir.make_parents,
            owner: owner(&dir.owner).transpose()?,
            time_ns: time(dir.timestamp),
        },
        Some(Action::Symlink(link)) => Change::Symlink {
            path: text("path", &link.newpath)?,
            target: text("link", &link.oldpath)?,
            owner: owner(&link.owner).transpose()?,
            time_ns: time(link.timestamp),
        },
        Some(Action::Rm(remove)) => Change::Remove {
            path: text("path", &remove.path)?,
            allow_missing: remove.allow_not_found,
            wildcard: remove.allow_wildcard,
        },
        None => return Err(LlbError::field("a file action without a kind")),
    };
    let output =
        match action.output {
            -1 => None,
            number => Some(usize::try_from(number).map_err(|_| {
                LlbError::field(format!("invalid output {number} of a file action"))
            })?),
        };
    Ok(FileAction { base, change, output })
}

fn copy(copy: &pb::FileActionCopy, from: i64, bounds: (usize, usize)) -> Result<Change, LlbError> {
    let owner = copy.owner.as_ref().map(|owner| self::owner(owner, bounds)).transpose()?;
    let mode = match copy.mode_str.as_str() {
        "" => mode(copy.mode)?.map(Mode::Bits),
        symbolic => Some(match u32::from_str_radix(symbolic, 8) {
            Ok(bits) => Mode::Bits(bits & 0o7777),
            Err(_) => Mode::Symbolic(text("mode", symbolic)?),
        }),
    };
    Ok(Change::Copy(Box::new(Copy {
        from: base(from, bounds)?,
        src: text("path", &copy.src)?,
        dest: text("path", &copy.dest)?,
        owner,
        mode,
        follow_symlinks: copy.follow_symlink,
        contents_only: copy.dir_copy_contents,
        unpack: match copy.attempt_unpack_docker_compatibility {
            true => Unpack::Detect,
            false => Unpack::Never,
        },
        create_dest: copy.create_dest_path,
        wildcard: copy.allow_wildcard,
        allow_empty: copy.allow_empty_wildcard,
        time_ns: time(copy.timestamp),
        include: texts("patterns", &copy.include_patterns)?,
        exclude: texts("patterns", &copy.exclude_patterns)?,
        required: texts("paths", &copy.required_paths)?,
        replace: copy.always_replace_existing_dest_paths,
    })))
}

/// -1 is the empty file system; then come the inputs, then the results of the actions.
fn base(number: i64, (inputs, count): (usize, usize)) -> Result<Base, LlbError> {
    match usize::try_from(number) {
        Ok(slot) if slot < inputs => Ok(Base::Input(slot)),
        Ok(number) if number < count => Ok(Base::Action(number - inputs)),
        Err(_) if number == -1 => Ok(Base::Empty),
        _ => Err(LlbError::field(format!("a file action uses input {number} of {count}"))),
    }
}

fn owner(owner: &pb::ChownOpt, bounds: (usize, usize)) -> Result<Owner, LlbError> {
    let who = |user: &Option<pb::UserOpt>| {
        let Some(user) = user.as_ref().and_then(|user| user.user.as_ref()) else {
            return Ok(None);
        };
        Ok::<_, LlbError>(Some(match user {
            pb::user_opt::User::ById(id) => Who::Id(*id),
            pb::user_opt::User::ByName(named) => {
                let name = text("owner", &named.name)?;
                Who::Name { name, within: base(named.input, bounds)? }
            }
        }))
    };
    Ok(Owner { user: who(&owner.user)?, group: who(&owner.group)? })
}

/// Permission bits; -1 is "as it was". A Go mode has the sticky, setuid and setgid bits elsewhere.
fn mode(mode: i32) -> Result<Option<u32>, LlbError> {
    if mode == -1 {
        return Ok(None);
    }
    u32::try_from(mode)
        .map(|mode| Some(mode & 0o7777))
        .map_err(|_| LlbError::field(format!("invalid mode {mode}")))
}

/// Nanoseconds since the epoch; -1 is "as it was".
fn time(timestamp: i64) -> Option<i64> {
    (timestamp != -1).then_some(timestamp)
}
