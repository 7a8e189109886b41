//! Pictures for the documents, as SVG that is the same on every machine: lines, bars, or
//! dots over two axes. No number in it has more than one decimal.

use std::fmt::Write;
use std::path::Path;

pub struct Picture {
    title: &'static str,
    x: Axis,
    y: Axis,
    marks: Vec<(&'static str, Marks)>,
}

pub struct Axis {
    label: &'static str,
    from: f64,
    to: f64,
    step: f64,
    /// In place of numbers, from 0 on.
    names: Vec<String>,
}

enum Marks {
    Line(Vec<(f64, f64)>),
    Dots(Vec<(f64, f64)>),
    /// At 0, 1, and so on.
    Bars(Vec<f64>),
}

/// Of Okabe and Ito, which those who do not see all colours can tell apart.
const COLORS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];
const DASHES: [&str; 4] = ["", "7 3", "2 3", "10 3 2 3"];

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 350.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = WIDTH - 24.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = HEIGHT - 52.0;

impl Axis {
    pub fn numbers(label: &'static str, from: f64, to: f64, step: f64) -> Self {
        Self {
            label,
            from,
            to,
            step,
            names: Vec::new(),
        }
    }

    pub fn names<S: Into<String>>(label: &'static str, names: impl IntoIterator<Item = S>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        Self {
            label,
            from: -0.5,
            to: names.len() as f64 - 0.5,
            step: 1.0,
            names,
        }
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = (value - self.from) / (self.to - self.from);
        assert!((0.0..=1.0).contains(&place), "{value} is on no axis");
        place
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        if !self.names.is_empty() {
            return (0..).map(f64::from).zip(self.names.clone()).collect();
        }
        let count = ((self.to - self.from) / self.step).round() as u32;
        let tick = |number| self.from + f64::from(number) * self.step;
        let ticks = (0..=count).map(tick);
        ticks.map(|value| (value, number(value))).collect()
    }
}

impl Picture {
    pub fn new(title: &'static str, x: Axis, y: Axis) -> Self {
        let marks = Vec::new();
        Self { title, x, y, marks }
    }

    pub fn line(self, name: &'static str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.with(name, Marks::Line(points.into_iter().collect()))
    }

    pub fn dots(self, name: &'static str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.with(name, Marks::Dots(points.into_iter().collect()))
    }

    pub fn bars(self, name: &'static str, values: impl IntoIterator<Item = f64>) -> Self {
        self.with(name, Marks::Bars(values.into_iter().collect()))
    }

    fn with(mut self, name: &'static str, marks: Marks) -> Self {
        self.marks.push((name, marks));
        self
    }

    /// That the committed one is this one. With `LOCKGATE_BLESS=1` in the environment it is
    /// written anew.
    pub fn check(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
        let path = folder.join(name).with_extension("svg");
        let drawn = self.svg();
        if std::env::var_os("LOCKGATE_BLESS").is_some() {
            std::fs::create_dir_all(folder).expect("a folder");
            std::fs::write(&path, &drawn).expect("the picture is written");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == drawn,
            "docs/pictures/{name}.svg is another one: run this test with LOCKGATE_BLESS=1"
        );
    }

    fn svg(&self) -> String {
        let mut svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#333">
<rect width="100%" height="100%" fill="#fff"/>
<text x="{LEFT}" y="24" font-size="15" font-weight="bold" fill="#000">{}</text>
"##,
            self.title
        );
        self.axes(&mut svg);
        let groups = self.marks.iter().filter(|(_, marks)| marks.are_bars());
        let groups = groups.count() as f64;
        let mut legend = LEFT;
        for (index, (name, marks)) in self.marks.iter().enumerate() {
            let (color, dash) = (COLORS[index], DASHES[index]);
            match marks {
                Marks::Line(points) => self.draw_line(&mut svg, points, color, dash),
                Marks::Dots(points) => self.draw_dots(&mut svg, points, color),
                Marks::Bars(values) => self.draw_bars(&mut svg, values, color, index, groups),
            }
            let (end, text) = (legend + 24.0, legend + 30.0);
            let (width, dash) = match marks {
                Marks::Line(_) => (3, dash),
                Marks::Dots(_) | Marks::Bars(_) => (10, ""),
            };
            push(
                &mut svg,
                format_args!(
                    r#"<path d="M{legend:.0} 44H{end:.0}" stroke="{color}" stroke-width="{width}" stroke-dasharray="{dash}"/><text x="{text:.0}" y="48">{name}</text>"#
                ),
            );
            legend = text + 7.0 * name.len() as f64 + 16.0;
        }
        svg + "</svg>\n"
    }

    fn axes(&self, svg: &mut String) {
        for (value, text) in self.y.ticks() {
            let (y, text_x) = (self.at_y(value), LEFT - 8.0);
            push(
                svg,
                format_args!(
                    r##"<path d="M{LEFT} {y:.1}H{RIGHT}" stroke="#ddd"/><text x="{text_x}" y="{:.1}" text-anchor="end">{text}</text>"##,
                    y + 4.0
                ),
            );
        }
        for (value, text) in self.x.ticks() {
            let (x, text_y) = (self.at_x(value), BOTTOM + 18.0);
            push(
                svg,
                format_args!(r#"<text x="{x:.1}" y="{text_y}" text-anchor="middle">{text}</text>"#),
            );
        }
        let (middle_x, middle_y) = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
        push(
            svg,
            format_args!(
                r##"<path d="M{LEFT} {BOTTOM}H{RIGHT}" stroke="#333"/><text x="{middle_x}" y="{}" text-anchor="middle">{}</text>
<text transform="translate(18 {middle_y}) rotate(-90)" text-anchor="middle">{}</text>"##,
                HEIGHT - 12.0,
                self.x.label,
                self.y.label
            ),
        );
    }

    fn draw_line(&self, svg: &mut String, points: &[(f64, f64)], color: &str, dash: &str) {
        let points = points
            .iter()
            .map(|(x, y)| format!("{:.1} {:.1}", self.at_x(*x), self.at_y(*y)));
        let points = points.collect::<Vec<_>>().join("L");
        push(
            svg,
            format_args!(
                r#"<path d="M{points}" fill="none" stroke="{color}" stroke-width="2" stroke-dasharray="{dash}"/>"#
            ),
        );
    }

    fn draw_dots(&self, svg: &mut String, points: &[(f64, f64)], color: &str) {
        for (x, y) in points {
            let (x, y) = (self.at_x(*x), self.at_y(*y));
            push(
                svg,
                format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="7" fill="{color}"/>"#),
            );
        }
    }

    fn draw_bars(&self, svg: &mut String, values: &[f64], color: &str, group: usize, groups: f64) {
        let width = 0.8 / groups;
        for (place, value) in (0..).map(f64::from).zip(values) {
            let left = self.at_x(place - 0.4 + group as f64 * width);
            let right = self.at_x(place - 0.4 + (group as f64 + 1.0) * width) - 1.0;
            let (top, middle) = (self.at_y(*value), (left + right) / 2.0);
            push(
                svg,
                format_args!(
                    r##"<rect x="{left:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" fill="{color}"/><text x="{middle:.1}" y="{:.1}" text-anchor="middle" font-size="11">{}</text>"##,
                    right - left,
                    BOTTOM - top,
                    top - 4.0,
                    number(*value)
                ),
            );
        }
    }

    fn at_x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (RIGHT - LEFT)
    }

    fn at_y(&self, value: f64) -> f64 {
        BOTTOM - self.y.place(value) * (BOTTOM - TOP)
    }
}

impl Marks {
    fn are_bars(&self) -> bool {
        matches!(self, Self::Bars(_))
    }
}

fn push(svg: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(svg, "{text}").expect("a string takes everything");
}

fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}
