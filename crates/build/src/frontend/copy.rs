//! COPY and ADD: files of the context, of stages and images, of the web and of git, and
//! here-documents.

use super::plan::Planner;
use super::state::State;
use super::step::{At, owner};
use super::wrong::Wrong;
use crate::check::rule;
use crate::dockerfile::Copy as CopyFlags;
use crate::gitref::{self, GitAddress};
use crate::glob::Glob;
use crate::graph::{
    Base, Change, Copy, Edge, File, FileAction, Git, Http, Mode, OpKind, Unpack, Vertex,
};
use crate::text::{base_name, clean_path, is_absolute, join_paths, quote};

/// The name of a fetched file whose address has none.
const UNNAMED: &str = "__unnamed__";

/// A copy being put together: the actions of one operation and its inputs.
struct Building {
    inputs: Vec<Edge>,
    actions: Vec<FileAction>,
    /// What the next action changes.
    base: Base,
    is_add: bool,
    /// The step as shown.
    title: String,
    /// What all its copies have in common.
    like: Copy,
}

impl Building {
    fn input(&mut self, edge: Edge) -> Base {
        let known = self.inputs.iter().position(|input| *input == edge);
        Base::Input(known.unwrap_or_else(|| {
            self.inputs.push(edge);
            self.inputs.len() - 1
        }))
    }

    fn push(&mut self, copy: Copy) {
        let change = Change::Copy(Box::new(copy));
        self.actions.push(FileAction { base: self.base, change, output: None });
        self.base = Base::Action(self.actions.len() - 1);
    }
}

impl Planner<'_> {
    pub(super) fn copy(
        &mut self,
        at: &At<'_>,
        state: &mut State,
        written: &CopyFlags,
        is_add: bool,
    ) -> Result<(), Wrong> {
        let flags = self.expand_flags(at, state, written)?;
        verify(&flags, is_add).map_err(|message| at.wrong(message))?;
        let title = self.step_title(at, state, &at.instruction().original, &[]);
        let dest = destination(state, &flags.dest);
        let mut building = Building {
            inputs: Vec::new(),
            actions: Vec::new(),
            base: Base::Empty,
            is_add,
            title,
            like: Copy {
                from: Base::Empty,
                src: "/".to_owned(),
                dest,
                owner: None,
                mode: mode(&flags.chmod)
                    .map_err(|message| at.wrong(message).about(&flags.chmod))?,
                follow_symlinks: false,
                contents_only: false,
                unpack: Unpack::Never,
                create_dest: true,
                wildcard: false,
                allow_empty: false,
                time_ns: None,
                include: Vec::new(),
                exclude: flags.exclude.clone(),
                required: Vec::new(),
                replace: false,
            },
        };
        // Names are those of the stage, even when the copy is a layer of its own.
        let root = state.root.map(|edge| building.input(edge));
        building.like.owner = owner(&flags.chown, root.unwrap_or(Base::Empty));
        if !flags.link {
            building.base = root.unwrap_or(Base::Empty);
        }
        for source in &flags.sources {
            self.copy_source(at, source, &flags, &mut building)?;
        }
        for doc in &flags.heredocs {
            let text = doc.text();
            let text = if doc.expand { self.expand_text(at, state, &text)? } else { text };
            let path = join_paths("/", base_name(&doc.name));
            let change = Change::Mkfile {
                path: path.clone(),
                mode: 0o644,
                data: text.into_bytes(),
                owner: None,
                time_ns: self.shared.epoch_ns,
            };
            building.actions.push(FileAction { base: Base::Empty, change, output: None });
            let from = Base::Action(building.actions.len() - 1);
            building.push(Copy { from, src: path, ..building.like.clone() });
        }
        self.finish_copy(at, state, flags.link, building)?;
        state.commit_files(&history(&flags, is_add));
        Ok(())
    }

    fn expand_flags(
        &mut self,
        at: &At<'_>,
        state: &State,
        written: &CopyFlags,
    ) -> Result<CopyFlags, Wrong> {
        let mut flags = written.clone();
        for word in [&mut flags.chown, &mut flags.chmod, &mut flags.checksum, &mut flags.dest] {
            *word = self.expand(at, state, word)?;
        }
        for word in &mut flags.sources {
            *word = self.expand(at, state, word)?;
        }
        Ok(flags)
    }

    fn copy_source(
        &mut self,
        at: &At<'_>,
        source: &str,
        flags: &CopyFlags,
        to: &mut Building,
    ) -> Result<(), Wrong> {
        let is_add = to.is_add;
        if let Some(git) = gitref::parse(source, false) {
            let git = git.and_then(|address| git_source(address, flags, is_add));
            let kind = OpKind::Git(git.map_err(|message| at.wrong(message).about(source))?);
            let edge = self.fetch(at, kind, &to.title)?;
            let from = to.input(edge);
            to.push(Copy { from, contents_only: true, ..to.like.clone() });
            return Ok(());
        }
        if source.starts_with("http://") || source.starts_with("https://") {
            if !is_add {
                return Err(at.wrong("source can't be a URL for COPY").about(source));
            }
            let filename = file_name(source);
            let kind = OpKind::Http(Http {
                url: source.to_owned(),
                checksum: flags.checksum.clone(),
                filename: filename.clone(),
                ..Http::default()
            });
            let edge = self.fetch(at, kind, &to.title)?;
            let from = to.input(edge);
            let unpack = if flags.unpack == Some(true) { Unpack::Detect } else { Unpack::Never };
            to.push(Copy { from, src: join_paths("/", &filename), unpack, ..to.like.clone() });
            return Ok(());
        }
        self.copy_local(at, source, flags, to)
    }

    fn copy_local(
        &mut self,
        at: &At<'_>,
        source: &str,
        flags: &CopyFlags,
        to: &mut Building,
    ) -> Result<(), Wrong> {
        let is_add = to.is_add;
        let from = match at.step.sources.first() {
            Some(Some(stage)) => {
                if let Some(local) = self.locals.get(*stage).cloned().flatten() {
                    super::sources::note(&mut self.paths, &local, source);
                }
                self.stage_root(at, *stage)?.map_or(Base::Empty, |edge| to.input(edge))
            }
            _ => {
                self.check_ignored(at, source, is_add);
                self.use_context(source);
                let edge = self.context(at.instruction().span)?;
                to.input(edge)
            }
        };
        let mut copy = Copy {
            from,
            src: clean_path(&format!("/{source}")),
            follow_symlinks: true,
            contents_only: true,
            wildcard: true,
            allow_empty: true,
            unpack: match flags.unpack.unwrap_or(is_add) {
                true => Unpack::Detect,
                false => Unpack::Never,
            },
            ..to.like.clone()
        };
        if flags.parents {
            // What is left of `/./` is not made again at the destination.
            let (pivot, pattern) = source.split_once("/./").unwrap_or(("/", source));
            let (src, inner) = (join_paths("/", pivot), clean_path(&format!("/{pattern}")));
            if !Glob::is_pattern(&src) && !Glob::is_pattern(&inner) {
                copy.required = vec![inner.clone()];
            }
            copy.include = vec![inner.trim_start_matches('/').to_owned()];
            copy.src = src;
        }
        to.push(copy);
        Ok(())
    }

    fn fetch(&mut self, at: &At<'_>, kind: OpKind, title: &str) -> Result<Edge, Wrong> {
        let ignore_cache = self.ignores_cache(at.index);
        let vertex = Vertex { name: title.to_owned(), ignore_cache, ..Vertex::default() };
        self.add(kind, Vec::new(), None, vertex, at.instruction().span)
    }

    /// The file system of a stage that is copied or mounted from.
    pub(super) fn stage_root(&mut self, at: &At<'_>, stage: usize) -> Result<Option<Edge>, Wrong> {
        match &self.states[stage] {
            Some(state) => Ok(state.root),
            None => {
                let (from, to) = (&self.stages.list[stage].title, &at.stage.title);
                let message = format!(
                    "cannot copy from stage {}, it needs to be defined before current stage {}",
                    quote(from),
                    quote(to)
                );
                Err(at.wrong(message).about(from))
            }
        }
    }

    fn finish_copy(
        &mut self,
        at: &At<'_>,
        state: &mut State,
        link: bool,
        mut building: Building,
    ) -> Result<(), Wrong> {
        let name = std::mem::take(&mut building.title);
        let span = at.instruction().span;
        let platform = Some(state.platform.clone());
        if let Some(last) = building.actions.last_mut() {
            last.output = Some(0);
        }
        let ignore_cache = self.ignores_cache(at.index);
        let vertex = Vertex { name: name.clone(), ignore_cache, ..Vertex::default() };
        let uses_root = !link || {
            let mut uses = building.actions.iter().flat_map(FileAction::uses);
            state.root.is_some() && uses.any(|base| base == Base::Input(0))
        };
        if !uses_root && state.root.is_some() {
            drop_first_input(&mut building);
        }
        let kind = OpKind::File(File { actions: building.actions });
        let copied = self.add(kind, building.inputs, platform.clone(), vertex, span)?;
        state.root = match state.root.filter(|_| link) {
            Some(root) => {
                let vertex = Vertex { ignore_cache, ..Vertex::named(format!("{name} (link)")) };
                Some(self.add(OpKind::Merge, vec![root, copied], platform, vertex, span)?)
            }
            None => Some(copied),
        };
        Ok(())
    }

    /// The check of what `.dockerignore` leaves out; exceptions make that undecidable here.
    fn check_ignored(&mut self, at: &At<'_>, source: &str, is_add: bool) {
        let ignore = self.shared.ignore.as_ref().filter(|matcher| !matcher.has_exceptions());
        let Some(matcher) = ignore else { return };
        let path = clean_path(source);
        let path = path.trim_start_matches('/');
        let ignored = match path {
            "" | "." => matcher.takes_all(),
            path => matcher.matches(path),
        };
        if ignored {
            let verb = if is_add { "Add" } else { "Copy" };
            let path = quote(&clean_path(source));
            let message =
                format!("Attempting to {verb} file {path} that is excluded by .dockerignore");
            self.checks.report(&rule::COPY_IGNORED_FILE, at.instruction(), message);
        }
    }
}

/// A copy that stands for itself must not depend on the stage it is put upon.
fn drop_first_input(building: &mut Building) {
    let lower = |base: &mut Base| {
        if let Base::Input(slot) = base {
            *slot = slot.saturating_sub(1);
        }
    };
    building.inputs.remove(0);
    for action in &mut building.actions {
        lower(&mut action.base);
        if let Change::Copy(copy) = &mut action.change {
            lower(&mut copy.from);
        }
    }
}

fn verify(flags: &CopyFlags, is_add: bool) -> Result<(), String> {
    if flags.checksum.is_empty() {
        return Ok(());
    }
    let [source] = flags.sources.as_slice() else {
        return Err("checksum can't be specified for multiple sources".to_owned());
    };
    let is_web = source.starts_with("http://") || source.starts_with("https://");
    let is_git = gitref::parse(source, false).is_some();
    if !is_add || !is_web && !is_git {
        return Err("checksum requires HTTP(S) or Git sources".to_owned());
    }
    if is_web && !is_git && model::Digest::parse(&flags.checksum).is_err() {
        return Err(format!("invalid checksum digest format: {}", flags.checksum));
    }
    Ok(())
}

fn git_source(address: GitAddress, flags: &CopyFlags, is_add: bool) -> Result<Git, String> {
    if !is_add {
        return Err("source can't be a git ref for COPY".to_owned());
    }
    let GitAddress { mut git, keep_git_dir } = address;
    if let (Some(flag), Some(query)) = (flags.keep_git_dir, keep_git_dir)
        && flag != query
    {
        return Err("inconsistent keep-git-dir configuration".to_owned());
    }
    git.keep_git_dir = keep_git_dir.or(flags.keep_git_dir).unwrap_or(false);
    if !flags.checksum.is_empty() {
        if !git.checksum.is_empty() && git.checksum != flags.checksum {
            let (flag, query) = (quote(&flags.checksum), quote(&git.checksum));
            return Err(format!("checksum mismatch {flag} != {query}"));
        }
        git.checksum.clone_from(&flags.checksum);
    }
    Ok(git)
}

/// The last part of an address's path.
fn file_name(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or(url);
    let path = bare.split_once("://").map_or(bare, |(_, rest)| rest);
    let name = path.split_once('/').map_or("", |(_, path)| base_name(path));
    match name {
        "" | "." | ".." | "/" => UNNAMED.to_owned(),
        name => name.to_owned(),
    }
}

/// The destination below the working directory; a final slash (or `/.`) stays, for it means a
/// directory.
fn destination(state: &State, written: &str) -> String {
    let text = if written == "." || written.is_empty() { "./" } else { written };
    let mut dest = match is_absolute(text) {
        true => clean_path(text),
        false => join_paths(state.workdir(), text),
    };
    if (text.ends_with('/') || text.ends_with("/.")) && dest != "/" {
        dest.push('/');
    }
    dest
}

fn mode(text: &str) -> Result<Option<Mode>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let not_octal = || {
        format!(
            "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        )
    };
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o7777);
        return bits.map(|bits| Some(Mode::Bits(bits))).ok_or_else(not_octal);
    }
    match text.split(',').all(is_symbolic) {
        true => Ok(Some(Mode::Symbolic(text.to_owned()))),
        false => Err(format!("invalid chmod parameter: '{text}'")),
    }
}

/// One clause of chmod(1): `u=rwX`, `go-w+x`, `+t`.
fn is_symbolic(clause: &str) -> bool {
    let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    actions.starts_with(['+', '-', '=']) && actions.chars().all(|c| "+-=rwxXstugo".contains(c))
}

/// BuildKit's wording in the history.
fn history(flags: &CopyFlags, is_add: bool) -> String {
    let mut text = if is_add { "ADD" } else { "COPY" }.to_owned();
    if flags.parents {
        text.push_str(" --parents");
    }
    for (name, value) in [("chown", &flags.chown), ("chmod", &flags.chmod)] {
        if !value.is_empty() {
            text = format!("{text} --{name}={value}");
        }
    }
    let docs = flags.heredocs.iter().map(|doc| format!("<<{}", doc.name));
    for word in flags.sources.iter().cloned().chain(docs).chain([flags.dest.clone()]) {
        text = format!("{text} {word}");
    }
    text
}
