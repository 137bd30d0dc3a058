//! Names: each is declared once, and what is named is of the right kind.

use std::collections::{HashMap, HashSet};

use proc_macro2::Ident;
use qconfig_core::DType;
use syn::{Attribute, Path};

use crate::ast::{Configs, DType as DTypeItem, Item, List, ScaleValue};
use crate::diag::{Diags, messages};
use crate::model::{ConfigModel, ConfigRef, DTypeModel, Layer};

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A `dtype` statement.
    DType,
    /// A `config` statement.
    Config,
    /// A `list` statement.
    List,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::DType => "dtype",
            Kind::Config => "dtype config",
            Kind::List => "list",
        }
    }

    fn keyword(self) -> &'static str {
        match self {
            Kind::DType => "dtype",
            Kind::Config => "config",
            Kind::List => "list",
        }
    }
}

/// A `dtype` statement, its bounds not yet read.
pub struct DTypeDecl<'a> {
    /// The statement.
    pub item: &'a DTypeItem,
    /// Filled in by [`super::bounds`].
    pub model: DTypeModel,
    /// Whether it came with `extends`.
    pub inherited: bool,
}

/// A `config` statement.
pub struct ConfigDecl<'a> {
    /// The statement.
    pub item: &'a crate::ast::Config,
    /// Whether it came with `extends`.
    pub inherited: bool,
}

/// All that a spec declares.
#[derive(Default)]
pub struct Names<'a> {
    /// `dtype` statements.
    pub dtypes: Vec<DTypeDecl<'a>>,
    /// `config` statements.
    pub config_decls: Vec<ConfigDecl<'a>>,
    /// What became of them, in the same order.
    pub configs: Vec<ConfigModel>,
    /// `list` statements.
    pub lists: Vec<&'a List>,
    all: HashMap<String, (Kind, usize)>,
    /// Declared by statements that could not be read, or used wrongly once: no more is said of them.
    broken: HashSet<String>,
}

/// Collects the names of all layers.
pub fn collect<'a>(layers: &[Layer<'a>], diags: &mut Diags) -> Names<'a> {
    let mut names = Names::default();
    let parent = layers.len().checked_sub(2).and_then(|at| layers.get(at));
    let parent = parent
        .and_then(|layer| layer.spec.backend.as_ref())
        .map(|backend| backend.ident.to_string());
    for layer in layers {
        names.broken.extend(layer.spec.broken.iter().cloned());
        let mut quiet = Diags::default();
        let diags = if layer.inherited {
            &mut quiet
        } else {
            &mut *diags
        };
        for item in &layer.spec.items {
            match item {
                Item::DType(item) => {
                    let decl = DTypeDecl {
                        item,
                        model: DTypeModel::plain(&item.base),
                        inherited: layer.inherited,
                    };
                    let at = names.declare(
                        Kind::DType,
                        &item.ident,
                        item.overrides.is_some(),
                        (layer.inherited, parent.as_deref()),
                        diags,
                    );
                    place(&mut names.dtypes, at, decl);
                }
                Item::Config(item) => {
                    let decl = ConfigDecl {
                        item,
                        inherited: layer.inherited,
                    };
                    let at = names.declare(
                        Kind::Config,
                        &item.ident,
                        item.overrides.is_some(),
                        (layer.inherited, parent.as_deref()),
                        diags,
                    );
                    place(&mut names.config_decls, at, decl);
                }
                Item::List(item) => {
                    let at = names.declare(
                        Kind::List,
                        &item.ident,
                        item.overrides.is_some(),
                        (layer.inherited, parent.as_deref()),
                        diags,
                    );
                    place(&mut names.lists, at, item);
                }
                _ => {}
            }
        }
    }
    names
}

fn place<T>(all: &mut Vec<T>, at: Option<usize>, decl: T) {
    match at {
        Some(at) if at < all.len() => all[at] = decl,
        Some(_) => all.push(decl),
        None => {}
    }
}

impl<'a> Names<'a> {
    /// Where the declaration goes; `None` where it is dropped.
    fn declare(
        &mut self,
        kind: Kind,
        ident: &Ident,
        overrides: bool,
        (inherited, parent): (bool, Option<&str>),
        diags: &mut Diags,
    ) -> Option<usize> {
        let name = ident.to_string();
        if reserved(ident) {
            diags.error(messages::reserved(ident, kind.word()));
            self.broken.insert(name);
            return None;
        }
        let next = match kind {
            Kind::DType => self.dtypes.len(),
            Kind::Config => self.config_decls.len(),
            Kind::List => self.lists.len(),
        };
        let Some((found, at)) = self.all.get(&name).copied() else {
            if overrides && !inherited {
                diags.error(messages::nothing_to_override(
                    ident,
                    kind.word(),
                    parent.is_some(),
                ));
            }
            self.all.insert(name, (kind, next));
            return Some(next);
        };
        let from_parent = match found {
            Kind::DType => self.dtypes[at].inherited,
            Kind::Config => self.config_decls[at].inherited,
            Kind::List => parent.is_some() && !overrides && !inherited && self.list_inherited(at),
        };
        if overrides && found == kind {
            return Some(at);
        }
        if from_parent && !inherited {
            diags.error(messages::inherited(
                ident,
                found.keyword(),
                parent.unwrap_or_default(),
            ));
        } else {
            let first = self.ident(found, at).span().start().line;
            diags.error(messages::defined_twice(ident, kind.word(), first));
        }
        None
    }

    fn list_inherited(&self, at: usize) -> bool {
        // lists are few: an inherited one is declared in another file or before the configs of this
        // spec; what matters is only the wording of the message
        self.config_decls
            .first()
            .is_some_and(|decl| decl.inherited && at < self.lists.len())
    }

    fn ident(&self, kind: Kind, at: usize) -> &Ident {
        match kind {
            Kind::DType => &self.dtypes[at].item.ident,
            Kind::Config => &self.config_decls[at].item.ident,
            Kind::List => &self.lists[at].ident,
        }
    }

    /// The dtype of a field: of a `dtype` statement, or PyTorch's own.
    pub fn dtype(
        &self,
        at: &Ident,
        config: &Ident,
        diags: &mut Diags,
    ) -> Option<(DTypeModel, Vec<Attribute>)> {
        let name = at.to_string();
        match self.all.get(&name) {
            Some((Kind::DType, index)) => {
                let decl = &self.dtypes[*index];
                return Some((decl.model.clone(), decl.item.attrs.cfgs.clone()));
            }
            Some((kind, index)) => {
                let line = self.ident(*kind, *index).span().start().line;
                diags.error(messages::config_for_dtype(at, line));
                return None;
            }
            None => {}
        }
        if DType::from_name(&name).is_some() {
            return Some((DTypeModel::plain(at), Vec::new()));
        }
        if !self.broken.contains(&name) {
            let own = self.dtypes.iter().map(|decl| decl.item.ident.to_string());
            let own: Vec<String> = own.collect();
            let all: Vec<&str> = own
                .iter()
                .map(String::as_str)
                .chain(DType::ALL.iter().map(|dtype| dtype.name()))
                .chain(["f16", "bf16", "f32", "f64"])
                .collect();
            diags.error(messages::unknown_dtype(at, config, all));
        }
        None
    }

    /// The dtype configs that a list, a group or a pattern names.
    pub fn configs(&self, configs: &Configs, context: &str, diags: &mut Diags) -> Vec<ConfigRef> {
        self.configs_of(configs, None, context, diags)
    }

    /// The dtype configs of a list.
    pub fn configs_of_list(&self, at: usize, diags: &mut Diags) -> Vec<ConfigRef> {
        let list = self.lists[at];
        let context = format!("list `{}`", list.ident);
        self.configs_of(&list.configs, Some(at), &context, diags)
    }

    fn configs_of(
        &self,
        configs: &Configs,
        list: Option<usize>,
        context: &str,
        diags: &mut Diags,
    ) -> Vec<ConfigRef> {
        let mut found = Vec::new();
        for (ident, spread) in &configs.names {
            let may_spread = *spread || !configs.bracketed;
            let mut path = list.into_iter().collect();
            self.add(
                ident, may_spread, *spread, context, &mut found, &mut path, diags,
            );
        }
        let mut seen = HashSet::new();
        found.retain(|config: &ConfigRef| {
            let new = seen.insert(config.config);
            if !new {
                diags.error(messages::listed_twice(&config.at, context));
            }
            new
        });
        found
    }

    #[allow(clippy::too_many_arguments, reason = "a recursive walk with its state")]
    fn add(
        &self,
        ident: &Ident,
        may_be_list: bool,
        must_be_list: bool,
        context: &str,
        found: &mut Vec<ConfigRef>,
        path: &mut Vec<usize>,
        diags: &mut Diags,
    ) {
        let name = ident.to_string();
        match self.all.get(&name) {
            Some((Kind::Config, index)) => {
                if must_be_list {
                    diags.error(messages::config_spread(ident));
                }
                found.push(ConfigRef {
                    config: *index,
                    at: ident.clone(),
                    cfgs: self.config_decls[*index].item.attrs.cfgs.clone(),
                });
            }
            Some((Kind::List, index)) => {
                if !may_be_list {
                    diags.error(messages::list_in_list(ident));
                    return;
                }
                if path.contains(index) {
                    diags.error(messages::list_cycle(ident));
                    return;
                }
                path.push(*index);
                let list = self.lists[*index];
                let start = found.len();
                // mistakes inside a list are said of the list alone
                let mut quiet = Diags::default();
                for (inner, spread) in &list.configs.names {
                    self.add(
                        inner,
                        *spread || !list.configs.bracketed,
                        *spread,
                        context,
                        found,
                        path,
                        &mut quiet,
                    );
                }
                path.pop();
                for config in &mut found[start..] {
                    config.at = ident.clone();
                    let cfgs = list.attrs.cfgs.iter().cloned();
                    config.cfgs.splice(0..0, cfgs);
                }
            }
            Some((Kind::DType, index)) => {
                let line = self.dtypes[*index].item.ident.span().start().line;
                diags.error(messages::dtype_for_config(ident, Some(line)));
            }
            None if self.broken.contains(&name) => {}
            None if DType::from_name(&name).is_some() => {
                diags.error(messages::dtype_for_config(ident, None));
            }
            None => {
                let all: Vec<&str> = self
                    .all
                    .iter()
                    .filter(|(_, (kind, _))| {
                        *kind == Kind::Config || (may_be_list && *kind == Kind::List)
                    })
                    .map(|(name, _)| name.as_str())
                    .collect();
                let mut all = all;
                all.sort_unstable();
                diags.error(messages::unknown_config(ident, context, all));
            }
        }
    }

    /// The constants that scale bounds name.
    pub fn constants(&self) -> Vec<Path> {
        let models = self.dtypes.iter().map(|decl| &decl.model);
        let scales =
            models.flat_map(|model| [&model.scale_min, &model.scale_max, &model.scale_exact]);
        scales
            .flatten()
            .filter_map(|scale| match &scale.value {
                ScaleValue::Path(path) => Some(path.clone()),
                ScaleValue::Number(_) => None,
            })
            .collect()
    }
}

/// Keywords, primitive types, dtypes, and names for the macro's own use.
fn reserved(ident: &Ident) -> bool {
    let name = ident.to_string();
    let primitive = [
        "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
        "f32", "f64", "bool", "char", "str",
    ];
    name.starts_with("__")
        || primitive.contains(&name.as_str())
        || DType::from_name(&name).is_some()
        || syn::parse_str::<Ident>(&name).is_err()
}
