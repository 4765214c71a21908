//! Tensors as bytes: element types, dim orders, seeded contents, files, differences.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use npyz::WriterBuilder;

use crate::Error;
use crate::bridge::ffi::TensorMeta;

/// Element types of ExecuTorch that a tensor here may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// uint8
    U8,
    /// int8
    I8,
    /// int16
    I16,
    /// int32
    I32,
    /// int64
    I64,
    /// float16
    F16,
    /// float32
    F32,
    /// float64
    F64,
    /// bool
    Bool,
    /// bfloat16
    Bf16,
}

impl Element {
    /// Type of ExecuTorch's scalar type number.
    pub fn of(scalar_type: i32) -> Result<Self, Error> {
        Ok(match scalar_type {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::I16,
            3 => Self::I32,
            4 => Self::I64,
            5 => Self::F16,
            6 => Self::F32,
            7 => Self::F64,
            11 => Self::Bool,
            15 => Self::Bf16,
            other => return Err(Error::Input(format!("scalar type {other} is not supported"))),
        })
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// Name as PyTorch writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::F16 => "float16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::Bool => "bool",
            Self::Bf16 => "bfloat16",
        }
    }

    /// NumPy's type string, little-endian, where NumPy has the type.
    fn numpy(self) -> Option<&'static str> {
        Some(match self {
            Self::U8 => "|u1",
            Self::I8 => "|i1",
            Self::I16 => "<i2",
            Self::I32 => "<i4",
            Self::I64 => "<i8",
            Self::F16 => "<f2",
            Self::F32 => "<f4",
            Self::F64 => "<f8",
            Self::Bool => "|b1",
            Self::Bf16 => return None,
        })
    }
}

/// A tensor with its elements in logical order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub element: Element,
    /// Logical order.
    pub sizes: Vec<usize>,
    /// Dense, row-major.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// Reproducible contents: uniform in [-1, 1) for float32, 0 or 1 for everything else.
    pub fn seeded(element: Element, sizes: &[usize], seed: u64) -> Self {
        let mut random = SplitMix(seed);
        let count: usize = sizes.iter().product();
        let mut bytes = Vec::with_capacity(count * element.bytes());
        for _ in 0..count {
            let bits = random.next();
            match element {
                Element::F32 => bytes.extend_from_slice(&unit(bits).to_le_bytes()),
                Element::F64 => bytes.extend_from_slice(&f64::from(unit(bits)).to_le_bytes()),
                Element::F16 | Element::Bf16 => {
                    let one = if element == Element::F16 { 0x3c00u16 } else { 0x3f80 };
                    bytes.extend_from_slice(&(if bits >> 63 == 1 { one } else { 0 }).to_le_bytes());
                }
                _ => {
                    bytes.push((bits >> 63) as u8);
                    bytes.resize(bytes.len() + element.bytes() - 1, 0);
                }
            }
        }
        Self { element, sizes: sizes.to_vec(), bytes }
    }

    /// From elements lying in a dim order.
    pub fn from_dim_order(meta: &TensorMeta, bytes: &[u8]) -> Result<Self, Error> {
        let element = Element::of(meta.scalar_type)?;
        let logical = permute(bytes, element.bytes(), &meta.sizes, &meta.dim_order, Direction::ToLogical)?;
        Ok(Self { element, sizes: meta.sizes.clone(), bytes: logical })
    }

    /// Elements as a dim order wants them.
    pub fn to_dim_order(&self, dim_order: &[u8]) -> Result<Vec<u8>, Error> {
        permute(&self.bytes, self.element.bytes(), &self.sizes, dim_order, Direction::FromLogical)
    }

    /// Reads an input: `.npy` of the same type and rank, or raw elements of these sizes in logical order.
    pub fn read(path: &Path, element: Element, sizes: &[usize]) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Error::file(path))?;
        let (bytes, sizes) = if path.extension().is_some_and(|e| e == "npy") {
            npy_elements(&bytes, element, sizes)
                .map_err(|why| Error::Input(format!("{}: {why}", path.display())))?
        } else {
            (bytes, sizes.to_vec())
        };
        let need = sizes.iter().product::<usize>() * element.bytes();
        if bytes.len() != need {
            let message = format!(
                "{}: {} bytes, {} {sizes:?} takes {need}",
                path.display(),
                bytes.len(),
                element.name()
            );
            return Err(Error::Input(message));
        }
        Ok(Self { element, sizes, bytes })
    }

    /// Writes `<stem>.npy`, or `<stem>.bin` for a type NumPy has not.
    pub fn write(&self, stem: &Path) -> Result<std::path::PathBuf, Error> {
        let path = stem.with_extension(if self.element.numpy().is_some() { "npy" } else { "bin" });
        let mut file = io::BufWriter::new(fs::File::create(&path).map_err(Error::file(&path))?);
        self.write_to(&mut file).and_then(|()| file.flush()).map_err(Error::file(&path))?;
        Ok(path)
    }

    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let shape: Vec<u64> = self.sizes.iter().map(|&s| s as u64).collect();
        match self.element {
            Element::U8 => npy::<u8>(out, &shape, &self.bytes),
            Element::I8 => npy::<i8>(out, &shape, &self.bytes),
            Element::I16 => npy::<i16>(out, &shape, &self.bytes),
            Element::I32 => npy::<i32>(out, &shape, &self.bytes),
            Element::I64 => npy::<i64>(out, &shape, &self.bytes),
            Element::F32 => npy::<f32>(out, &shape, &self.bytes),
            Element::F64 => npy::<f64>(out, &shape, &self.bytes),
            Element::Bool => {
                let mut writer =
                    npyz::WriteOptions::new().default_dtype().shape(&shape).writer(out).begin_nd()?;
                writer.extend(self.bytes.iter().map(|&b| b != 0))?;
                writer.finish()
            }
            Element::F16 | Element::Bf16 => out.write_all(&self.bytes),
        }
    }

    /// Greatest absolute difference to another float32 tensor, and the same relative to this one's range. Other types
    /// differ by 0 or infinitely.
    pub fn difference(&self, other: &Tensor) -> (f64, f64) {
        if self.element != other.element || self.sizes != other.sizes {
            return (f64::INFINITY, f64::INFINITY);
        }
        if self.element != Element::F32 {
            let worst = if self.bytes == other.bytes { 0.0 } else { f64::INFINITY };
            return (worst, worst);
        }
        let (mut low, mut high, mut worst) = (f64::INFINITY, f64::NEG_INFINITY, 0.0f64);
        for (a, b) in floats(&self.bytes).zip(floats(&other.bytes)) {
            (low, high) = (low.min(a), high.max(a));
            let difference = if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() };
            worst = if difference.is_nan() { f64::INFINITY } else { worst.max(difference) };
        }
        let range = if high > low { high - low } else { 1.0 };
        (worst, worst / range)
    }

    /// 64-bit FNV-1a of the elements in logical order.
    pub fn checksum(&self) -> u64 {
        self.bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
    }

    /// "float32 [1, 3, 8, 8]"
    pub fn describe(&self) -> String {
        format!("{} {:?}", self.element.name(), self.sizes)
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b)))
}

fn npy<T: npyz::AutoSerialize + bytemuck::Pod>(
    out: &mut impl Write,
    shape: &[u64],
    bytes: &[u8],
) -> io::Result<()> {
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(out).begin_nd()?;
    writer.extend(bytemuck::pod_collect_to_vec::<u8, T>(bytes))?;
    writer.finish()
}

/// Raw elements and shape of a `.npy` file, which must have the type and rank asked for.
fn npy_elements(file: &[u8], element: Element, sizes: &[usize]) -> Result<(Vec<u8>, Vec<usize>), String> {
    let mut rest = file;
    let header = npyz::NpyHeader::from_reader(&mut rest).map_err(|e| e.to_string())?;
    let dtype = header.dtype().descr();
    let dtype = dtype.trim_matches('\'');
    let shape: Vec<usize> = header.shape().iter().map(|&s| s as usize).collect();
    if Some(dtype) != element.numpy() || shape.len() != sizes.len() {
        return Err(format!("{dtype} {shape:?}, the input is {} {sizes:?}", element.name()));
    }
    if header.order() != npyz::Order::C {
        return Err("Fortran order is not supported".to_owned());
    }
    Ok((rest.to_vec(), shape))
}

#[derive(Clone, Copy)]
enum Direction {
    ToLogical,
    FromLogical,
}

/// Moves elements between logical order and a dim order.
fn permute(
    bytes: &[u8],
    width: usize,
    sizes: &[usize],
    dim_order: &[u8],
    direction: Direction,
) -> Result<Vec<u8>, Error> {
    let mut seen: Vec<u8> = dim_order.to_vec();
    seen.sort_unstable();
    let count: usize = sizes.iter().product();
    if seen.iter().enumerate().any(|(i, &d)| i != usize::from(d))
        || dim_order.len() != sizes.len()
        || bytes.len() != count * width
    {
        let message = format!("{} bytes, sizes {sizes:?}, dim order {dim_order:?} do not fit", bytes.len());
        return Err(Error::Input(message));
    }
    if dim_order.is_sorted() {
        return Ok(bytes.to_vec());
    }
    let mut strides = vec![0; sizes.len()];
    let mut stride = 1;
    for &dim in dim_order.iter().rev() {
        strides[usize::from(dim)] = stride;
        stride *= sizes[usize::from(dim)];
    }
    let mut out = vec![0; bytes.len()];
    let mut index = vec![0; sizes.len()];
    for logical in 0..count {
        let physical: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        let (to, from) = match direction {
            Direction::ToLogical => (logical, physical),
            Direction::FromLogical => (physical, logical),
        };
        out[to * width..][..width].copy_from_slice(&bytes[from * width..][..width]);
        for dim in (0..sizes.len()).rev() {
            index[dim] += 1;
            if index[dim] < sizes[dim] {
                break;
            }
            index[dim] = 0;
        }
    }
    Ok(out)
}

struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Uniform in [-1, 1).
fn unit(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(sizes: &[usize], dim_order: &[u8]) -> TensorMeta {
        TensorMeta { scalar_type: 0, sizes: sizes.to_vec(), dim_order: dim_order.to_vec(), bytes: 0 }
    }

    #[test]
    fn dim_orders_go_there_and_back() {
        let (sizes, order) = ([1, 2, 2, 3], [0, 2, 3, 1]);
        let logical: Vec<u8> = (0..12).collect();
        let tensor = Tensor { element: Element::U8, sizes: sizes.to_vec(), bytes: logical.clone() };
        let channels_last = tensor.to_dim_order(&order).unwrap();
        assert_eq!(channels_last, [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]);
        assert_eq!(Tensor::from_dim_order(&meta(&sizes, &order), &channels_last).unwrap().bytes, logical);
        assert!(tensor.to_dim_order(&[0, 1, 1, 2]).is_err());
        assert!(tensor.to_dim_order(&[0, 1]).is_err());
    }

    #[test]
    fn seeds_reproduce_and_stay_in_range() {
        let one = Tensor::seeded(Element::F32, &[3, 100], 7);
        assert_eq!(one, Tensor::seeded(Element::F32, &[3, 100], 7));
        assert_ne!(one, Tensor::seeded(Element::F32, &[3, 100], 8));
        assert!(floats(&one.bytes).all(|v| (-1.0..1.0).contains(&v)));
        assert!(floats(&one.bytes).any(|v| v < -0.5) && floats(&one.bytes).any(|v| v > 0.5));
        assert!(
            Tensor::seeded(Element::I64, &[9], 1).bytes.chunks(8).all(|c| c[1..].iter().all(|b| *b == 0))
        );
    }

    #[test]
    fn npy_files_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        for element in [Element::F32, Element::I64, Element::Bool, Element::U8, Element::Bf16] {
            let tensor = Tensor::seeded(element, &[2, 3], 1);
            let path = tensor.write(&folder.path().join("x")).unwrap();
            assert_eq!(Tensor::read(&path, element, &[2, 3]).unwrap(), tensor);
        }
        let path = Tensor::seeded(Element::F32, &[2, 3], 1).write(&folder.path().join("y")).unwrap();
        let wrong = Tensor::read(&path, Element::F32, &[6]).unwrap_err().to_string();
        assert!(wrong.contains("[2, 3]") && wrong.contains("[6]"), "{wrong}");
        assert!(Tensor::read(&path, Element::F64, &[2, 3]).is_err());
    }

    #[test]
    fn differences_are_of_the_range() {
        let of = |values: &[f32]| Tensor {
            element: Element::F32,
            sizes: vec![values.len()],
            bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        let (abs, rel) = of(&[0.0, 4.0]).difference(&of(&[0.5, 4.0]));
        assert_eq!((abs, rel), (0.5, 0.125));
        assert_eq!(of(&[1.0]).difference(&of(&[f32::NAN])).0, f64::INFINITY);
        assert_eq!(of(&[1.0]).difference(&of(&[1.0, 2.0])).0, f64::INFINITY);
    }
}
