//! The page.

use std::fmt::Write as _;

use super::{Section, Table};

/// Everything that the page looks like; colours for light and dark surroundings.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--dim:#5b6675;--paper:#fbfbf9;--card:#fff;--line:#e2e4e8;--good:#1a7f37;--bad:#b42318;\
--c0:#2563c9;--c1:#c2500b;--c2:#1a7f5a;--c3:#8b3fb8;--c4:#a8790a;--c5:#b0285c;--mark:#b42318}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ec;--dim:#98a2b3;--paper:#12151a;--card:#1a1e25;--line:#2e3540;--good:#4ac26b;--bad:#ff7b6b;\
--c0:#6ea8ff;--c1:#ff9a55;--c2:#4fd1a0;--c3:#c792ea;--c4:#e3b341;--c5:#ff7eb0;--mark:#ff7b6b}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:2rem 1.25rem 4rem;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
h1{font-size:1.6rem;margin:0 0 .25rem}h2{font-size:1.2rem;margin:2.75rem 0 .5rem}
p{margin:.4rem 0;color:var(--dim);max-width:46rem}
.scroll{overflow-x:auto;margin:1rem 0;border:1px solid var(--line);border-radius:8px;background:var(--card)}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.45rem .75rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left;white-space:normal;min-width:10rem}
td.words{text-align:left;white-space:normal;min-width:12rem}
tr:last-child td{border-bottom:0}th{color:var(--dim);font-weight:600}
.yes{color:var(--good);font-weight:600}.no{color:var(--bad);font-weight:600}
figure{margin:1.25rem 0;padding:.9rem 1rem;border:1px solid var(--line);border-radius:8px;background:var(--card)}
figcaption{font-weight:600;margin-bottom:.4rem}
svg{width:100%;height:auto;display:block}svg text{font-size:12px;fill:var(--dim)}
.end{text-anchor:end}.middle{text-anchor:middle}
.grid{stroke:var(--line)}.mark{stroke:var(--mark);stroke-width:1.5;stroke-dasharray:5 4}
.line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round}.dot{fill:currentColor}.bar{fill:var(--c0)}
.c0{color:var(--c0)}.c1{color:var(--c1)}.c2{color:var(--c2)}.c3{color:var(--c3)}.c4{color:var(--c4)}.c5{color:var(--c5)}.cmark{color:var(--mark)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:.5rem 0 0;padding:0;font-size:.85rem}
.legend li::before{content:'';display:inline-block;width:.8em;height:.8em;border-radius:3px;background:currentColor;margin-right:.45em;vertical-align:-.05em}
";

/// A whole page: a title, what it is about in a line, and the sections.
#[must_use]
pub fn page(title: &str, about: &str, sections: &[Section]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>{about}</p>\n",
        title = escaped(title),
        about = escaped(about)
    );
    for section in sections {
        // Writing to a string does not fail, here and below.
        let _ = writeln!(page, "<section>\n<h2>{}</h2>", escaped(&section.title));
        for note in &section.notes {
            let _ = writeln!(page, "<p>{}</p>", escaped(note));
        }
        section.tables.iter().for_each(|table| page.push_str(&html(table)));
        section.plots.iter().for_each(|plot| page.push_str(&plot.svg()));
        page.push_str("</section>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn html(table: &Table) -> String {
    let head: String = table.header.iter().map(|name| format!("<th>{}</th>", escaped(name))).collect();
    let mut html = format!("<div class=\"scroll\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        let cells: String =
            row.iter().map(|cell| format!("<td{}>{}</td>", class(cell), escaped(cell))).collect();
        let _ = writeln!(html, "<tr>{cells}</tr>");
    }
    html.push_str("</tbody>\n</table></div>\n");
    html
}

/// What kind of cell it is: a judgement, a text, or a number.
fn class(cell: &str) -> &'static str {
    match cell {
        "yes" | "pass" => " class=\"yes\"",
        "no" | "FAIL" => " class=\"no\"",
        words if words.split(' ').count() > 4 => " class=\"words\"",
        _ => "",
    }
}

/// Text as it may stand in HTML and SVG, in attributes too.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_told_becomes_markup() {
        let mut table = Table::new(&["<script>"]);
        table.add(vec!["a & \"b\" 'c'".to_owned()]);
        let page = page("<b>", "1 < 2", &[Section::new("</section>").note("<img src=x>").table(table)]);
        for markup in ["<b>", "<script>", "<img", "1 < 2"] {
            assert!(!page.contains(markup), "{page}");
        }
        assert!(page.contains("&lt;script&gt;") && page.contains("a &amp; &quot;b&quot; &#39;c&#39;"));
        assert_eq!(page.matches("</section>").count(), 1);
    }

    #[test]
    fn the_page_fetches_nothing() {
        let page = page("title", "about", &[Section::new("one")]);
        for foreign in ["http:", "https:", "src=", "url(", "@import", "<link"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("prefers-color-scheme:dark"));
    }
}
