//! A backend as one page that needs nothing else: patterns by dtype configs, to be searched and filtered.

use std::collections::BTreeSet;

use qconfig::operator::Role;
use qconfig::{BackendConfig, BackendPatternConfig, DTypeConfig};

use crate::html::escaped;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --none: light-dark(#c0392b, #ff8a7a); --has: light-dark(#1e7e4f, #5fd39a); --soft: #8882; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.2rem; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; } p { max-width: 60rem; margin: .3rem 0; }
form { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin: 1rem 0; position: sticky; top: 0; background: Canvas; padding: .5rem 0; z-index: 2; }
input[type=search] { flex: 1 1 14rem; max-width: 26rem; } input, select { font: inherit; padding: .3rem .5rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
th, td { border: 1px solid var(--line); padding: .25rem .5rem; text-align: left; vertical-align: top; }
thead th { background: var(--soft); } thead small { display: block; font-weight: normal; max-width: 16rem; }
tbody th { font: 13px/1.4 ui-monospace, monospace; font-weight: normal; position: sticky; left: 0; background: Canvas; max-width: 24rem; }
td.has { color: var(--has); } td.none { color: var(--none); } td small, tbody th small { display: block; opacity: .7; font: 12px/1.3 system-ui, sans-serif; }
@media (max-width: 40rem) { body { margin: .6rem; } tbody th { min-width: 9rem; max-width: 11rem; overflow-wrap: break-word; } }
";

/// Hides the rows that do not hold what is typed and chosen, and counts those that are left.
const SCRIPT: &str = "
const rows = [...document.querySelectorAll('tbody tr')], form = document.querySelector('form'), count = document.getElementById('count');
function apply() {
  const words = form.search.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let left = 0;
  for (const row of rows) {
    const text = row.dataset.text;
    const kernels = row.dataset.kernels;
    const shown = words.every(word => text.includes(word))
      && (!form.dtype.value || row.dataset.dtypes.split(' ').includes(form.dtype.value))
      && (!form.kind.value || row.dataset.kind === form.kind.value)
      && (!form.kernel.value || (form.kernel.value === 'all' ? kernels === 'all' : kernels !== 'all'));
    row.hidden = !shown;
    left += shown;
  }
  count.textContent = left + ' of ' + rows.length + ' patterns';
}
form.addEventListener('input', apply);
form.addEventListener('change', apply);
form.addEventListener('submit', event => event.preventDefault());
apply();
";

/// The page.
pub(crate) fn page(backend: &BackendConfig) -> String {
    let columns = columns(backend);
    let (pairs, bound) = backend.coverage();
    let head: String = columns
        .iter()
        .map(|config| {
            format!(
                "<th scope=\"col\">{}<small>{}</small></th>",
                escaped(config.name),
                escaped(&config.to_string())
            )
        })
        .collect();
    let rows: String = backend
        .configs
        .iter()
        .map(|config| row(backend, config, &columns))
        .collect();
    let dtypes: BTreeSet<&str> = columns.iter().flat_map(|config| dtypes(config)).collect();
    let choices = |values: &mut dyn Iterator<Item = &str>| -> String {
        values
            .map(|value| format!("<option>{value}</option>"))
            .collect()
    };
    format!(
        "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>{name}: patterns and dtype configs</title><style>{STYLE}</style></head><body>
<h1>{name}</h1>
<p>{patterns} patterns, {pairs} pairs of pattern and dtype config, {bound} of them with a kernel. A cell names the kernel;
bounds that differ from the column's stand in it.</p>
<form><input type=\"search\" name=\"search\" placeholder=\"pattern, kernel, dtype config\" aria-label=\"search\">
<select name=\"dtype\" aria-label=\"dtype\"><option value=\"\">any dtype</option>{dtype_choices}</select>
<select name=\"kind\" aria-label=\"kind of operator\"><option value=\"\">any operator</option>{kind_choices}</select>
<select name=\"kernel\" aria-label=\"kernel\"><option value=\"\">with or without kernel</option><option value=\"all\">every pair has a kernel</option><option value=\"lacks\">a pair has none</option></select>
<output id=\"count\"></output></form>
<div class=\"scroll\"><table><thead><tr><th scope=\"col\">pattern</th>{head}</tr></thead><tbody>
{rows}</tbody></table></div><script>{SCRIPT}</script></body></html>
",
        name = escaped(backend.name),
        patterns = backend.configs.len(),
        dtype_choices = choices(&mut dtypes.iter().copied()),
        kind_choices = choices(&mut KINDS.iter().map(|(_, kind)| *kind)),
    )
}

const KINDS: [(Role, &str); 4] = [
    (Role::Root, "root"),
    (Role::Norm, "normalization"),
    (Role::Activation, "activation"),
    (Role::Alone, "other"),
];

/// The dtype configs by name, in the order in which patterns list them.
fn columns(backend: &BackendConfig) -> Vec<DTypeConfig> {
    let mut columns: Vec<DTypeConfig> = Vec::new();
    for config in backend
        .configs
        .iter()
        .flat_map(|config| config.dtype_configs)
    {
        if !columns.iter().any(|known| known.name == config.name) {
            columns.push(*config);
        }
    }
    columns
}

/// The dtypes of activations and weight.
fn dtypes(config: &DTypeConfig) -> Vec<&'static str> {
    let sides = [&config.input, &config.output, &config.weight];
    let dtypes = sides.into_iter().flatten();
    dtypes.map(|side| side.dtype.name()).collect()
}

fn row(backend: &BackendConfig, config: &BackendPatternConfig, columns: &[DTypeConfig]) -> String {
    let pattern = config.pattern.to_string();
    let kind = config.head().map_or("other", |head| {
        let kind = KINDS.iter().find(|(role, _)| *role == head.operator.role);
        kind.map_or("other", |(_, kind)| kind)
    });
    let mut text = pattern.to_lowercase();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let mut lacks = false;
    let mut cells = String::new();
    for column in columns {
        let found = config.dtype_configs.iter().enumerate();
        let Some((at, own)) = found.into_iter().find(|(_, own)| own.name == column.name) else {
            cells += "<td></td>";
            continue;
        };
        known.extend(dtypes(own));
        let kernel = backend.kernel(config, at).map(|kernel| kernel.name);
        lacks |= kernel.is_none();
        let differs = own.to_string() != column.to_string();
        let bounds = if differs {
            format!("<small>{}</small>", escaped(&own.to_string()))
        } else {
            String::new()
        };
        cells += &format!(
            "<td class=\"{}\">{}{bounds}</td>",
            if kernel.is_some() { "has" } else { "none" },
            escaped(kernel.unwrap_or("none"))
        );
        text += &format!(" {} {}", own.name, kernel.unwrap_or("none"));
    }
    let known: Vec<&str> = known.into_iter().collect();
    let origin = config.origin.to_string();
    format!(
        "<tr data-text=\"{}\" data-dtypes=\"{}\" data-kind=\"{kind}\" data-kernels=\"{}\"><th scope=\"row\">{}<small>{}</small></th>{cells}</tr>\n",
        escaped(&text),
        known.join(" "),
        if lacks { "lacks" } else { "all" },
        escaped(&pattern),
        escaped(&origin)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use qconfig::backends::{ONEDNN, TENSORRT};

    #[test]
    fn a_row_for_each_pattern_and_a_cell_for_each_pair() {
        for (backend, lacking) in [(&ONEDNN, None), (&TENSORRT, Some(149))] {
            let page = page(backend);
            let (pairs, bound) = backend.coverage();
            assert_eq!(page.matches("<tr data-text").count(), backend.configs.len());
            assert_eq!(page.matches("<td class=\"has\">").count(), bound);
            assert_eq!(page.matches("<td class=\"none\">").count(), pairs - bound);
            if let Some(lacking) = lacking {
                assert_eq!(page.matches("data-kernels=\"lacks\"").count(), lacking);
            }
            assert!(!page.contains("http"), "the page asks for something");
        }
    }
}
