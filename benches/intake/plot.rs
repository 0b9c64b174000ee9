//! The picture: throughput beside pgbench's, and the curves of latency.

use std::path::Path;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::{Load, Report};

/// Width and height of the picture, points.
const SIZE: (u32, u32) = (1200, 520);
const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0x8b);
const POSTGRES: RGBColor = RGBColor(0xb0, 0xb0, 0xb0);
const CURVES: [RGBColor; 2] = [OURS, RGBColor(0xc2, 0x57, 0x1a)];

/// A bar: its name, its height, its colour.
type Bar = (String, f64, RGBColor);

/// Draws a report as SVG.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn draw(report: &Report, file: &Path) -> anyhow::Result<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let machine = &report.machine;
    let title = format!(
        "Acknowledged sales a second, and their latency: {} cores, {}, {}",
        machine.cores, machine.cpu, machine.postgres
    );
    let drawn = (|| {
        root.fill(&WHITE)?;
        let root = root.titled(&title, ("sans-serif", 18))?;
        let (left, right) = root.split_horizontally(SIZE.0 / 2);
        bars(&left, &bars_of(report))?;
        curves(&right, &curves_of(report))?;
        root.present()
    })();
    drawn.map_err(|error| anyhow!("{} cannot be drawn: {error}", file.display()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn bars_of(report: &Report) -> Vec<Bar> {
    let mut bars = Vec::new();
    for ratio in &report.ratios {
        let best = |rates: Vec<f64>| rates.into_iter().fold(0.0, f64::max);
        let pgbench = best(ratio.pgbench.iter().map(|(_, rate)| *rate).collect());
        let ours = best(ratio.ours.iter().map(|(_, rate)| *rate).collect());
        bars.push((format!("pgbench, {}", ratio.baskets), pgbench, POSTGRES));
        bars.push((ratio.baskets.to_owned(), ours, OURS));
    }
    let others = [
        "sustained",
        "1 merchants",
        "100 merchants",
        "1000 merchants",
        "proofs",
    ];
    for name in others {
        if let Some(figures) = report.find(name) {
            bars.push((name.to_owned(), figures.per_second, OURS));
        }
    }
    bars
}

/// Horizontal, so that their names have room.
fn bars<'a>(area: &Area<'a>, bars: &[Bar]) -> Drawn<'a> {
    let most = bars.iter().map(|(_, rate, _)| *rate).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(20)
        .x_label_area_size(30)
        .build_cartesian_2d(0.0..most * 1.15, 0.0..bars.len().max(1) as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("a second")
        .draw()?;
    for (index, (name, rate, colour)) in bars.iter().enumerate() {
        let top = (bars.len() - index) as f64;
        let corners = [(0.0, top - 0.55), (*rate, top - 0.95)];
        chart.draw_series([Rectangle::new(corners, colour.filled())])?;
        let text = format!("{name}: {rate:.0}");
        chart.draw_series([Text::new(text, (0.0, top - 0.15), ("sans-serif", 14))])?;
    }
    Ok(())
}

fn curves_of(report: &Report) -> Vec<&Load> {
    let open = report
        .loads
        .iter()
        .filter(|load| load.figures.arrivals.is_some());
    open.take(CURVES.len()).collect()
}

/// Latency over the share of answers that took longer, both by powers of ten.
fn curves<'a>(area: &Area<'a>, loads: &[&Load]) -> Drawn<'a> {
    let points = |load: &Load| -> Vec<(f64, f64)> {
        let curve = load.figures.latency.curve.iter();
        curve
            .map(|(share, ms)| (1.0 / share.max(1e-4), ms.max(0.1)))
            .collect()
    };
    let most = loads
        .iter()
        .flat_map(|load| points(load))
        .map(|(_, ms)| ms)
        .fold(10.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(20)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d((1.0..10_000.0).log_scale(), (0.1..most * 1.5).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("one answer in so many took longer")
        .y_desc("milliseconds")
        .draw()?;
    for (load, colour) in loads.iter().zip(CURVES) {
        let name = format!(
            "{} ({:.0}/s)",
            load.name,
            load.figures.arrivals.unwrap_or(0.0)
        );
        chart
            .draw_series(LineSeries::new(points(load), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()
}
