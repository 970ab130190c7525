//! Exhaustive search of small configurations of the protocol.
//!
//! Every order of steps of a [`Model`] is gone through. Found are: what the rules call a
//! violation; deadlock, where nobody can go on and somebody should; and *fair starvation*: a
//! cycle in which every task that ever could make a step makes one, and a task that must end
//! does not. The last is printed as a lasso: how to get there, and what then repeats.

pub mod model;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

/// Something whose steps can be gone through.
pub trait Model {
    /// A state of all of it.
    type State: Clone + Eq + Hash;

    /// Where it begins.
    fn initial(&self) -> Self::State;

    /// How many tasks there are.
    fn tasks(&self) -> usize;

    /// The steps that a task can make.
    fn transitions(&self, state: &Self::State, task: usize) -> Vec<Transition<Self::State>>;

    /// Whether a task has ended.
    fn has_ended(&self, state: &Self::State, task: usize) -> bool;

    /// Whether a task has to end, however long the others go on.
    fn must_end(&self, task: usize) -> bool;
}

/// A step.
#[derive(Clone, Debug)]
pub struct Transition<S> {
    /// What is done.
    pub label: &'static str,
    /// What is then.
    pub next: S,
    /// The rule that it breaks.
    pub broken: Option<String>,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchOutcome {
    /// States that were reached.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// Whether all were reached.
    pub complete: bool,
    /// What is wrong, the shortest way to it first.
    pub fault: Option<Flaw>,
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A rule is broken at the end of the path.
    Broken(Vec<String>, String),
    /// Nobody can go on at the end of the path.
    Deadlock(Vec<String>),
    /// The second path leads from the end of the first back to it.
    Starvation(Vec<String>, Vec<String>),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, last) = match self {
            Self::Broken(path, rule) => (path, rule.as_str()),
            Self::Deadlock(path) => (path, "nobody can go on"),
            Self::Starvation(path, _) => (path, "from here on this repeats:"),
        };
        for step in path {
            writeln!(f, "    {step}")?;
        }
        writeln!(f, "{last}")?;
        if let Self::Starvation(_, cycle) = self {
            for step in cycle {
                writeln!(f, "    {step}")?;
            }
        }
        Ok(())
    }
}

/// A step in the graph: who, what, where to.
type Edge = (usize, &'static str, usize);

struct Graph<S> {
    states: Vec<S>,
    edges: Vec<Vec<Edge>>,
    /// How a state was reached first.
    parents: Vec<Option<(usize, Edge)>>,
}

/// Searches `model`, giving up after `limit` states.
pub fn search<M: Model>(model: &M, limit: usize) -> SearchOutcome {
    let mut numbers = HashMap::new();
    let initial = model.initial();
    let mut graph = Graph {
        states: Vec::from([initial.clone()]),
        edges: Vec::new(),
        parents: Vec::from([None]),
    };
    numbers.insert(initial, 0);
    let (mut at, mut steps) = (0, 0);
    let mut fault = None;
    while at < graph.states.len() && graph.states.len() < limit && fault.is_none() {
        let state = graph.states[at].clone();
        let mut edges = Vec::new();
        for task in 0..model.tasks() {
            for step in model.transitions(&state, task) {
                steps += 1;
                if let (Some(rule), None) = (step.broken, &fault) {
                    let mut path = graph.path(at);
                    path.push(say(task, step.label));
                    fault = Some(Flaw::Broken(path, rule));
                }
                let next = *numbers.entry(step.next).or_insert_with_key(|next| {
                    graph.states.push(next.clone());
                    graph.parents.push(Some((at, (task, step.label, 0))));
                    graph.states.len() - 1
                });
                edges.push((task, step.label, next));
            }
        }
        let stuck = (0..model.tasks()).any(|task| !model.has_ended(&state, task));
        if edges.is_empty() && stuck && fault.is_none() {
            fault = Some(Flaw::Deadlock(graph.path(at)));
        }
        graph.edges.push(edges);
        at += 1;
    }
    let complete = at == graph.states.len();
    if complete && fault.is_none() {
        fault = graph.starvation(model);
    }
    SearchOutcome { states: graph.states.len(), steps, complete, fault }
}

fn say(task: usize, label: &str) -> String {
    let mut text = String::from("task ");
    text.push_str(&task.to_string());
    text.push(' ');
    text.push_str(label);
    text
}

impl<S> Graph<S> {
    /// How `state` was reached first.
    fn path(&self, state: usize) -> Vec<String> {
        let mut path = Vec::new();
        let mut at = state;
        while let Some((from, (task, label, _))) = self.parents[at] {
            path.push(say(task, label));
            at = from;
        }
        path.reverse();
        path
    }

    /// A part of the graph that can be gone round in for ever, fairly, without the end of a task
    /// that must end.
    fn starvation<M: Model<State = S>>(&self, model: &M) -> Option<Flaw> {
        for part in self.parts() {
            let inside = |state: usize| part.binary_search(&state).is_ok();
            let edges = || {
                part.iter().flat_map(|from| {
                    self.edges[*from].iter().filter(|edge| inside(edge.2)).map(move |e| (*from, *e))
                })
            };
            if edges().next().is_none() {
                continue;
            }
            let starves = (0..model.tasks()).any(|task| {
                model.must_end(task)
                    && part.iter().all(|state| !model.has_ended(&self.states[*state], task))
            });
            // Strong fairness: who could ever make a step makes one.
            let fair = (0..model.tasks()).all(|task| {
                let could =
                    part.iter().any(|state| self.edges[*state].iter().any(|edge| edge.0 == task));
                !could || edges().any(|(_, edge)| edge.0 == task)
            });
            if starves && fair {
                return Some(self.lasso(model.tasks(), &part, &inside));
            }
        }
        None
    }

    /// The way into `part` and a round in it in which every task that can makes a step.
    fn lasso(&self, tasks: usize, part: &[usize], inside: &impl Fn(usize) -> bool) -> Flaw {
        let begin = part[0];
        let mut cycle = Vec::new();
        let mut at = begin;
        for task in 0..tasks {
            let target = |state: usize| {
                self.edges[state].iter().find(|edge| edge.0 == task && inside(edge.2)).copied()
            };
            if !part.iter().any(|state| target(*state).is_some()) {
                continue;
            }
            at = self.walk(at, inside, |state| target(state).is_some(), &mut cycle);
            if let Some((task, label, next)) = target(at) {
                cycle.push(say(task, label));
                at = next;
            }
        }
        self.walk(at, inside, |state| state == begin, &mut cycle);
        Flaw::Starvation(self.path(begin), cycle)
    }

    /// Goes the shortest way from `at` to where `there` holds, which exists.
    fn walk(
        &self,
        at: usize,
        inside: &impl Fn(usize) -> bool,
        there: impl Fn(usize) -> bool,
        cycle: &mut Vec<String>,
    ) -> usize {
        let mut from: HashMap<usize, Option<(usize, Edge)>> = HashMap::from([(at, None)]);
        let mut queue = std::collections::VecDeque::from([at]);
        while let Some(state) = queue.pop_front() {
            if there(state) {
                let mut back = Vec::new();
                let mut on = state;
                while let Some(Some((before, edge))) = from.get(&on) {
                    back.push(say(edge.0, edge.1));
                    on = *before;
                }
                cycle.extend(back.into_iter().rev());
                return state;
            }
            for edge in self.edges[state].iter().filter(|edge| inside(edge.2)) {
                from.entry(edge.2).or_insert_with(|| {
                    queue.push_back(edge.2);
                    Some((state, *edge))
                });
            }
        }
        at
    }

    /// The strongly connected parts, each sorted. Tarjan's algorithm, without recursion.
    fn parts(&self) -> Vec<Vec<usize>> {
        const NEW: usize = usize::MAX;
        let count = self.states.len();
        let (mut index, mut low) = (vec![NEW; count], vec![0; count]);
        let mut on_stack = vec![false; count];
        let (mut stack, mut parts, mut next) = (Vec::new(), Vec::new(), 0);
        for root in 0..count {
            if index[root] != NEW {
                continue;
            }
            let mut calls = Vec::from([(root, 0)]);
            while let Some((state, edge)) = calls.pop() {
                if edge == 0 {
                    index[state] = next;
                    low[state] = next;
                    next += 1;
                    stack.push(state);
                    on_stack[state] = true;
                } else {
                    let child = self.edges[state][edge - 1].2;
                    low[state] = low[state].min(low[child]);
                }
                let mut deeper = None;
                for (number, (_, _, to)) in self.edges[state].iter().enumerate().skip(edge) {
                    if index[*to] == NEW {
                        deeper = Some((number + 1, *to));
                        break;
                    }
                    if on_stack[*to] {
                        low[state] = low[state].min(index[*to]);
                    }
                }
                if let Some((number, to)) = deeper {
                    calls.push((state, number));
                    calls.push((to, 0));
                    continue;
                }
                if low[state] == index[state] {
                    let mut part = Vec::new();
                    while let Some(member) = stack.pop() {
                        on_stack[member] = false;
                        part.push(member);
                        if member == state {
                            break;
                        }
                    }
                    part.sort_unstable();
                    parts.push(part);
                }
            }
        }
        parts
    }
}
