//! Models from files: `.onnx`, which is run in float, or as a plan where it is quantized, or a saved plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::Args;
use qconfig::onnx::{Dimension, ImportOptions, Imported, Model};
use qconfig::quantize::{Graph, Tensor, adopt, lower, set_input};
use qconfig::runtime::{Plan, Session, SessionOptions};
use qconfig::{DType, Isa, Kernel, backends};

use crate::samples::{Wanted, has_extension};

/// What a model file leaves open.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ModelArgs {
    /// Shape of an input whose dimensions the file leaves open: `INPUT=1,3,224,224`.
    #[arg(long = "shape", value_name = "INPUT=SIZES", value_parser = shape)]
    pub(crate) shapes: Vec<(String, Vec<usize>)>,
    /// Size of a named dimension; those not given are 1.
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dimension)]
    pub(crate) dimensions: Vec<(String, usize)>,
}

fn shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let (name, sizes) = text
        .rsplit_once('=')
        .ok_or("it must be INPUT=SIZE,SIZE,..")?;
    let sizes: Result<Vec<usize>, _> = sizes.split([',', 'x']).map(str::parse).collect();
    match sizes {
        Ok(sizes) if !sizes.contains(&0) => Ok((name.into(), sizes)),
        _ => Err(format!(
            "the sizes of `{text}` are not all positive numbers"
        )),
    }
}

fn dimension(text: &str) -> Result<(String, usize), String> {
    let (name, size) = text.rsplit_once('=').ok_or("it must be NAME=SIZE")?;
    match size.parse() {
        Ok(size @ 1..) => Ok((name.into(), size)),
        _ => Err(format!("the size of `{text}` is not a positive number")),
    }
}

/// Reads an `.onnx` file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Model> {
    if has_extension(path, "plan") && path.is_file() {
        bail!(
            "{}: a plan is quantized already, and this takes the .onnx file that it was made of",
            path.display()
        );
    }
    qconfig::onnx::read_file(path).map_err(|error| match error {
        // it names the file itself
        file @ qconfig::onnx::ReadError::File { .. } => anyhow::Error::new(file),
        other => anyhow::Error::new(other).context(path.display().to_string()),
    })
}

/// What a file leaves open, as the importer takes it.
pub(crate) fn options(args: &ModelArgs) -> ImportOptions {
    ImportOptions {
        shapes: args.shapes.iter().cloned().collect(),
        dimensions: args.dimensions.iter().cloned().collect(),
        fixed: BTreeMap::new(),
    }
}

/// Reads an `.onnx` file and makes a graph of it.
pub(crate) fn load(path: &Path, args: &ModelArgs) -> anyhow::Result<Imported> {
    let model = read(path)?;
    known_dimensions(&model, args).with_context(|| path.display().to_string())?;
    graph(path, &model, args)
}

fn graph(path: &Path, model: &Model, args: &ModelArgs) -> anyhow::Result<Imported> {
    qconfig::onnx::import(model, &options(args)).with_context(|| path.display().to_string())
}

/// Refuses a size for a dimension that no input has.
fn known_dimensions(model: &Model, args: &ModelArgs) -> anyhow::Result<()> {
    let inputs = model.inputs.iter();
    let sizes = inputs.flat_map(|input| input.shape.iter().flatten());
    let named: BTreeSet<&str> = sizes
        .filter_map(|size| match size {
            Dimension::Named(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let mut given = args.dimensions.iter().map(|(name, _)| name.as_str());
    match given.find(|name| !named.contains(name)) {
        None => Ok(()),
        Some(unknown) if named.is_empty() => {
            bail!("no dimension is called `{unknown}`: all sizes stand in the file")
        }
        Some(unknown) => {
            let named: Vec<&str> = named.into_iter().collect();
            bail!(
                "no dimension is called `{unknown}`; there is `{}`",
                named.join("`, `")
            )
        }
    }
}

/// The inputs of a graph.
pub(crate) fn wanted(graph: &Graph) -> Vec<Wanted> {
    let inputs = graph.inputs().iter().map(|id| graph.value(*id));
    inputs
        .map(|value| Wanted {
            name: value.name.clone(),
            shape: value.shape.clone(),
            integers: value.dtype != DType::float32,
        })
        .collect()
}

/// A kernel of any backend, or one between layers.
pub(crate) fn kernel(name: &str) -> Option<&'static Kernel> {
    let mut found = backends::ALL.iter().filter_map(|b| b.kernel_named(name));
    found.next().or_else(|| qconfig::kernels::glue(name))
}

/// Reads a saved plan.
pub(crate) fn plan(path: &Path) -> anyhow::Result<Plan<'static>> {
    if has_extension(path, "onnx") && path.is_file() {
        bail!(
            "{0}: this takes a plan; `qconfig quantize {0} -o FILE.plan` makes one",
            path.display()
        );
    }
    Plan::from_file(path, kernel).with_context(|| path.display().to_string())
}

/// A model that can be run.
pub(crate) enum Runner {
    /// In float, as the reference.
    Float(Box<Imported>),
    /// As a plan.
    Plan(Box<Session<'static>>),
}

impl Runner {
    /// By the file's extension.
    pub(crate) fn open(path: &Path, args: &ModelArgs, threads: usize) -> anyhow::Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("onnx") => {
                // of two models that are compared, one may have a dimension that the other has not
                let imported = graph(path, &read(path)?, args)?;
                if !imported.is_quantized() {
                    return Ok(Self::Float(Box::new(imported)));
                }
                let model = adopt(&imported.graph, &backends::QNNPACK, &imported.given);
                let plan = lower(&model)
                    .with_context(|| path.display().to_string())?
                    .plan;
                Ok(Self::Plan(Box::new(session(plan, threads)?)))
            }
            Some("plan") => Ok(Self::Plan(Box::new(session(plan(path)?, threads)?))),
            _ => bail!("{}: models are .onnx or .plan files", path.display()),
        }
    }

    /// What it takes.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        match self {
            Runner::Float(imported) => wanted(&imported.graph),
            Runner::Plan(session) => {
                let plan = session.plan();
                let inputs = plan.inputs().iter().filter_map(|id| plan.tensor(*id));
                inputs
                    .map(|tensor| Wanted {
                        name: tensor.name().into(),
                        shape: tensor.shape().to_vec(),
                        integers: tensor.dtype() != DType::float32,
                    })
                    .collect()
            }
        }
    }

    /// Names of what it gives.
    pub(crate) fn outputs(&self) -> Vec<String> {
        match self {
            Runner::Float(imported) => imported.outputs.clone(),
            Runner::Plan(session) => {
                let plan = session.plan();
                let outputs = plan.outputs().iter().filter_map(|id| plan.tensor(*id));
                outputs.map(|tensor| tensor.name().into()).collect()
            }
        }
    }

    /// Runs a sample.
    pub(crate) fn run(&mut self, inputs: &[Tensor]) -> anyhow::Result<Vec<Tensor>> {
        match self {
            Runner::Float(imported) => Ok(imported.graph.run(inputs)?),
            Runner::Plan(session) => {
                for (at, input) in inputs.iter().enumerate() {
                    set_input(session, at, input)?;
                }
                session.run()?;
                let shapes: Vec<Vec<usize>> = {
                    let plan = session.plan();
                    let outputs = plan.outputs().iter().filter_map(|id| plan.tensor(*id));
                    outputs.map(|tensor| tensor.shape().to_vec()).collect()
                };
                let mut outputs = Vec::new();
                for (at, shape) in shapes.into_iter().enumerate() {
                    let mut values = vec![0.0; shape.iter().product()];
                    session.output_f32(at, &mut values)?;
                    outputs.push(Tensor::new(shape, values)?);
                }
                Ok(outputs)
            }
        }
    }
}

/// A session on the best instruction set there is, or the one that `QCONFIG_ISA` names.
pub(crate) fn session(plan: Plan<'static>, threads: usize) -> anyhow::Result<Session<'static>> {
    let options = SessionOptions {
        threads,
        ..SessionOptions::with_isa(Isa::from_env()?)
    };
    Ok(Session::new(plan, options)?)
}
