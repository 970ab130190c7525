//! The text of a program: what it begins with, what it needs of `pieces.c`, and how it ends.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::call::quoted;
use super::{Audience, CWriter};
use crate::export::Recorded;
use crate::export::requirement::{self, Requirement};
use crate::wrap;

/// Parts of programs. Each begins with a line `//: NAME NEEDED...`.
static PIECES: &str = include_str!("../pieces.c");

/// How often a program tries what depends on where blocks lie: as often as a case does.
const ATTEMPTS: u32 = 8;

/// How wide a comment is, tabs apart.
const WIDTH: usize = 90;

impl CWriter {
    /// What must be there before the case acts, and before any file is mapped.
    fn needs(&self, requirements: &[Requirement]) -> String {
        let mut lines = requirement::tries(requirements, self.mount);
        lines.extend(self.pins.values().map(|pin| &pin.tries[..]));
        lines.extend(self.buffers.values().map(|buffer| &buffer.tries[..]));
        let lines: String = lines
            .lines()
            .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("\t{line}\n") })
            .collect();
        format!(
            "/* What is missing is no fault of the kernel's. */\n\
             static void check_needs(void)\n{{\n{lines}}}\n"
        )
    }

    pub(super) fn text(
        &self,
        recorded: &Recorded,
        requirements: &[Requirement],
        reader: Audience,
    ) -> String {
        let mut body: String = self.pins.values().map(|pin| &pin.begins[..]).collect();
        let calls = |names: &[&str]| {
            names.iter().any(|name| self.body.contains(name) || self.calls.contains(name))
        };
        let mut handle = |signal, handler| {
            let _ = writeln!(
                body,
                "\tif (sigaction({signal}, &(struct sigaction){{ .sa_handler = {handler} }}, NULL))\n\
                 \t\tcannot(\"sigaction\");"
            );
        };
        let mut handlers = "";
        if calls(&["touch(", "touch_huge(", "store(", "store_huge(", "shows("]) {
            handle("SIGBUS", "on_bus");
        }
        if calls(&["interrupt("]) {
            handle("SIGUSR1", "on_signal");
            handlers = "static void on_signal(int signal)\n{\n\t(void)signal;\n}\n\n";
        }
        if !self.apart.is_empty() {
            body.push_str(
                "\toperations = mmap(NULL, sizeof(*operations) * OPERATIONS, PROT_READ | PROT_WRITE,\n\
                 \t\t\t  MAP_SHARED | MAP_ANONYMOUS, -1, 0);\n\
                 \tif (operations == MAP_FAILED)\n\t\tcannot(\"mmap\");\n",
            );
        }
        // What waits takes too long, and waits wherever the blocks are.
        let attempts = if self.is_by_luck && self.apart.is_empty() { ATTEMPTS } else { 1 };
        if attempts > 1 {
            let _ = writeln!(
                body,
                "\t/* Where the file system puts the blocks decides whether this can show anything. */\n\
                 \tfor (attempt = 0; attempt < {attempts}; attempt++) {{"
            );
            for line in self.body.lines() {
                let _ = writeln!(body, "\t{line}");
            }
            body.push_str("\t}\n");
        } else {
            body.push_str(&self.body);
        }
        let mut ends = String::new();
        for pin in self.pins.values().filter(|pin| !pin.ends.is_empty()) {
            let _ = writeln!(ends, "\t{}", pin.ends);
        }
        if calls(&["freeze("]) {
            ends.push_str("\tthaw();\n");
        }
        if calls(&["spoil("]) {
            ends.push_str("\tmend();\n");
        }
        let needs = self.needs(requirements);
        let mut text = head(recorded, requirements, self.mount, reader);
        let mut globals = self.globals.clone();
        let most = self.apart.iter().map(|op| op.0 + 1).max();
        if let Some(most) = most {
            let _ = writeln!(
                globals,
                "\n/* Shared with forked processes. */\n#define OPERATIONS {most}\nstatic struct operation *operations;"
            );
        }
        text.push_str(&pieces(&format!("{needs}{body}{}{globals}{ends}", self.calls)));
        let _ = write!(text, "{globals}\n{handlers}{}{needs}\n", self.calls);
        let names: Vec<_> = self.names.values().map(|name| quoted(name)).collect();
        let _ = write!(
            text,
            "static void run(void)\n{{\n{body}}}\n\n{}",
            last(&names, attempts, &ends)
        );
        text
    }
}

/// The comment that a program begins with.
fn head(
    recorded: &Recorded,
    requirements: &[Requirement],
    mount: &str,
    reader: Audience,
) -> String {
    let licence = match reader {
        Audience::Anybody => "MIT OR Apache-2.0",
        Audience::Xfstests => "GPL-2.0",
    };
    let mut text = format!(
        "// SPDX-License-Identifier: {licence}\n/*\n * {}: made by daxtests from the {} of that name.\n *\n",
        recorded.name, recorded.what
    );
    for line in wrap::lines(&recorded.about, WIDTH) {
        let _ = writeln!(text, " * {line}");
    }
    text.push_str(" *\n");
    let build = match reader {
        Audience::Anybody => format!(
            " *\tgcc -Wall -Wextra -pthread -o repro repro.c\n\
             \x20*\t./repro /mnt\t\t{}, mounted with -o {mount}\n\
             {}\x20*\n",
            requirement::only_on(requirements).map_or("XFS or ext4", |fs| fs.title),
            if requirements.contains(&Requirement::Whole) {
                " *\n * The program unmounts and mounts it, so nobody else may use it. It wants the mount point.\n"
            } else {
                ""
            },
        ),
        Audience::Xfstests => String::new(),
    };
    text.push_str(&build);
    text.push_str(
        " * Exit status: 0 the kernel does what it must, 1 it does not, 2 it could not be tried. Run it as\n\
         \x20* root, so that warnings in the kernel log count and stacks are printed. It may leave a process\n\
         \x20* that hangs.\n */\n",
    );
    text
}

/// How a program ends: the process that the user waits for, which cannot hang.
fn last(names: &[String], attempts: u32, ends: &str) -> String {
    let verdict = match attempts {
        1 => "as it must be".to_owned(),
        _ => format!(
            "nothing wrong in {attempts} attempts; where the blocks lie decides whether it shows"
        ),
    };
    format!(
        r#"int main(int argc, char **argv)
{{
	static const char *const names[] = {{ {} }};
	char made[4096];
	struct pollfd verdict = {{ .events = POLLIN }};
	int ends[2], status;
	char code = 2;

	if (argc != 2) {{
		fprintf(stderr, "usage: %s FOLDER (on a DAX file system)\n", argv[0]);
		return 2;
	}}
	snprintf(made, sizeof(made), "%s/daxtests-XXXXXX", argv[1]);
	folder = mkdtemp(made);
	if (!folder || pipe(ends)) {{
		perror(argv[1]);
		return 2;
	}}
	switch (fork()) {{
	case -1:
		perror("fork");
		return 2;
	case 0:
		close(ends[0]);
		verdicts = ends[1];
		check_needs();
		watch_kernel_log();
		run();
		check_kernel_log();
		puts("{verdict}");
		fflush(stdout);
		end(0);
	}}
	close(ends[1]);
	verdict.fd = ends[0];
	if (poll(&verdict, 1, 300000) == 0) {{
		fputs("FAIL: it did not end within 5 min\n", stderr);
	{ends}	return 1;
	}}
	if (read(ends[0], &code, 1) != 1)
		fputs("cannot tell: the test died\n", stderr);
{ends}	if (code)
		return code;
	waitpid(-1, &status, 0);
	for (attempt = 0; attempt < {attempts}; attempt++)
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			unlink(path_of(names[i]));
	rmdir(folder);
	return 0;
}}
"#,
        names.join(", ")
    )
}

/// The pieces that `program` needs, each after those that it needs itself.
fn pieces(program: &str) -> String {
    let all: Vec<(&str, Vec<&str>, &str)> = PIECES
        .split("//: ")
        .skip(1)
        .map(|piece| {
            let (first, text) = piece.split_once('\n').expect("a piece has lines");
            let mut names = first.split(' ');
            (names.next().expect("a piece has a name"), names.collect(), text)
        })
        .collect();
    let mut wanted: BTreeSet<&str> = ["begin", "kernel_log"].into();
    for (name, ..) in &all {
        if program.contains(&format!("{name}(")) || program.contains(&format!("struct {name} ")) {
            wanted.insert(name);
        }
    }
    // Those that pieces need stand before them.
    for (name, needed, _) in all.iter().rev() {
        if wanted.contains(name) {
            wanted.extend(needed);
        }
    }
    all.iter().filter(|(name, ..)| wanted.contains(name)).map(|(.., text)| *text).collect()
}
