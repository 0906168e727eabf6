//! Three ways to colour a graph: vertices of one colour may be down together.
//!
//! Each takes the vertices one by one and gives each the first colour that none of its neighbours has; they
//! differ in who is next. Among equals it is the last one. Source: Ganeti's reference on htools, hroller.

use super::graph::{Graph, Vertex};
use crate::model::NodeIdx;
use std::collections::BTreeMap;

/// Who is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Who has most neighbours.
    LargestFirst,
    /// Whose neighbours have most different colours, then most neighbours.
    Saturation,
    /// Who has most coloured neighbours, then most neighbours.
    ColouredNeighbours,
}

impl Order {
    /// All of them; of equally good ones the first is taken.
    pub const ALL: [Order; 3] = [Order::LargestFirst, Order::Saturation, Order::ColouredNeighbours];

    /// The reference's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Order::LargestFirst => "LF",
            Order::Saturation => "Dsatur",
            Order::ColouredNeighbours => "Dcolor",
        }
    }
}

/// A colouring, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Colouring {
    pub order: Order,
    /// By colour: its nodes, in order.
    pub classes: Vec<Vec<NodeIdx>>,
}

type Colours = BTreeMap<Vertex, usize>;

/// A graph coloured in an order.
pub(super) fn colour(graph: &Graph, order: Order) -> Colouring {
    let colours = match order {
        Order::LargestFirst => {
            let mut vertices: Vec<Vertex> = graph.vertices().rev().collect();
            vertices.sort_by_key(|vertex| std::cmp::Reverse(graph.neighbours(*vertex).len()));
            let mut colours = Colours::new();
            vertices.into_iter().for_each(|vertex| paint(graph, &mut colours, vertex));
            colours
        }
        Order::Saturation => dynamic(graph, |seen| seen.different),
        Order::ColouredNeighbours => dynamic(graph, |seen| seen.coloured),
    };
    let count = colours.values().max().map_or(0, |most| most + 1);
    let mut classes = vec![vec![]; count];
    for (vertex, colour) in colours {
        classes[colour].push(NodeIdx(vertex));
    }
    Colouring { order, classes }
}

/// The first colour that no neighbour has.
fn paint(graph: &Graph, colours: &mut Colours, vertex: Vertex) {
    let mut taken: Vec<usize> =
        graph.neighbours(vertex).iter().filter_map(|other| colours.get(other).copied()).collect();
    taken.sort_unstable();
    taken.dedup();
    let free = taken.iter().enumerate().position(|(at, colour)| at != *colour);
    colours.insert(vertex, free.unwrap_or(taken.len()));
}

/// What a vertex that has no colour yet sees of its neighbours.
#[derive(Clone, Debug, Default)]
struct Seen {
    colours: Vec<bool>,
    different: usize,
    coloured: usize,
}

fn dynamic(graph: &Graph, urgency: impl Fn(&Seen) -> usize) -> Colours {
    let mut colours = Colours::new();
    let mut left: BTreeMap<Vertex, Seen> =
        graph.vertices().map(|vertex| (vertex, Seen::default())).collect();
    let rank =
        |(vertex, seen): &(&Vertex, &Seen)| (urgency(seen), graph.neighbours(**vertex).len());
    while let Some((&vertex, _)) = left.iter().max_by_key(rank) {
        left.remove(&vertex);
        paint(graph, &mut colours, vertex);
        let colour = colours[&vertex];
        for other in graph.neighbours(vertex) {
            let Some(seen) = left.get_mut(other) else { continue };
            if seen.colours.len() <= colour {
                seen.colours.resize(colour + 1, false);
            }
            seen.coloured += 1;
            if !std::mem::replace(&mut seen.colours[colour], true) {
                seen.different += 1;
            }
        }
    }
    colours
}

/// How the colourings compare, the best first, in the reference's words.
pub fn comparison(colourings: &[Colouring]) -> String {
    let mut ranked: Vec<&Colouring> = colourings.iter().collect();
    ranked.sort_by_key(|colouring| std::cmp::Reverse(colouring.classes.len()));
    let mut text = String::new();
    let mut before = None;
    for colouring in ranked.into_iter().rev() {
        let count = colouring.classes.len();
        let sizes: Vec<String> =
            colouring.classes.iter().map(|class| class.len().to_string()).collect();
        text += match before {
            None => "",
            Some(other) if other == count => " TIE ",
            Some(_) => " LOOSE ",
        };
        text += &format!("{}: {count} ({})", colouring.order.as_str(), sizes.join(","));
        before = Some(count);
    }
    text
}
