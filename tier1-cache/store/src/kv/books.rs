//! The pages in which `redb` keeps books about its file: which pages are taken, which are to be freed, where the
//! tables begin.
//!
//! A damaged row hurts whoever asks for it. Damage here lets `redb` free pages that are in use, or panic while it
//! commits or closes, twice at once, which ends the process. It compares none of these pages when it opens a file that
//! was closed in order, so they are compared before it gets to see them: with the checksums that it wrote itself, from
//! the header down. What the tables hold is not read, so this takes as long for a large index as for a small one,
//! nearly.
//!
//! Drawn after `docs/design.md` of `redb` 4 (file format 3).

use std::io;

use xxhash_rust::xxh3::xxh3_128;

/// Read at this offset into this buffer.
pub(crate) type ReadAt<'a> = dyn Fn(u64, &mut [u8]) -> io::Result<()> + 'a;

const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";
const HEADER_BYTES: usize = 320;
/// What every database of ours is made with.
const PAGE_BYTES: u64 = 4096;
/// In the byte after the magic number.
const PRIMARY_IS_SECOND: u8 = 1;
const TWO_PHASES: u8 = 4;
const SLOT_BYTES: usize = 128;
const SUM_BYTES: usize = 16;
/// The largest page that a number can name has 2^20 pages, and no region has more.
const ORDERS: u32 = 20;
/// Levels of a tree; each of them at least halves what is below it.
const LEVELS: usize = 64;

/// What is wrong, told as `redb` tells of damage.
fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("its bookkeeping is damaged: {what}"))
}

/// Bytes of a page or a header, none of them taken for granted.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn slice(self, from: usize, len: usize) -> io::Result<&'a [u8]> {
        let end = from.checked_add(len);
        end.and_then(|end| self.0.get(from..end)).ok_or_else(|| damaged("a page says more than it holds"))
    }

    fn array<const N: usize>(self, from: usize) -> io::Result<[u8; N]> {
        Ok(self.slice(from, N)?.try_into().expect("a slice of this length"))
    }

    fn byte(self, at: usize) -> io::Result<u8> {
        Ok(u8::from_le_bytes(self.array(at)?))
    }

    fn short(self, at: usize) -> io::Result<usize> {
        Ok(usize::from(u16::from_le_bytes(self.array(at)?)))
    }

    fn word(self, at: usize) -> io::Result<usize> {
        usize::try_from(u32::from_le_bytes(self.array(at)?)).map_err(|_| damaged("a number is too large"))
    }
}

/// A page and the checksum that it must have.
#[derive(Clone, Copy)]
struct Link {
    page: u64,
    sum: u128,
}

impl Link {
    fn parse(page: [u8; 8], sum: [u8; SUM_BYTES]) -> Self {
        Self { page: u64::from_le_bytes(page), sum: u128::from_le_bytes(sum) }
    }

    /// The root of a tree: the byte `present` says whether there is one, and `at` is where its page and checksum are.
    fn root(bytes: Bytes<'_>, present: usize, at: usize) -> io::Result<Option<Self>> {
        Ok(match bytes.byte(present)? {
            0 => None,
            _ => Some(Self::parse(bytes.array(at)?, bytes.array(at + 8)?)),
        })
    }
}

/// How many bytes each key and each value of a tree has, where all have as many.
#[derive(Clone, Copy, Default)]
struct Widths {
    key: Option<usize>,
    value: Option<usize>,
}

/// Where pages are.
struct Layout {
    region_bytes: u64,
    region_header_bytes: u64,
    file_bytes: u64,
}

impl Layout {
    /// Offset and length of a page: its number has the order in 5 bits, from bit 59 on, the region in 20 bits from
    /// bit 20 on, and the place in the region below, in pages of its own size.
    fn find(&self, page: u64) -> io::Result<(u64, usize)> {
        let order = (page >> 59) as u32;
        let place = (page & 0xf_ffff) & (0xf_ffff >> order.min(ORDERS));
        let region = (page >> 20) & 0xf_ffff;
        let len = PAGE_BYTES << order.min(ORDERS);
        let start = PAGE_BYTES + region * self.region_bytes + self.region_header_bytes + place * len;
        if order > ORDERS || start + len > self.file_bytes {
            return Err(damaged("a page is said to be where the file is not"));
        }
        Ok((start, usize::try_from(len).map_err(|_| damaged("a page is too large"))?))
    }
}

/// Compares the books of the database in a file of `file_bytes` with their checksums.
///
/// # Errors
/// Of kind `InvalidData`: what is damaged. Others: what reading said.
pub(crate) fn compare(file_bytes: u64, read: &ReadAt<'_>) -> io::Result<()> {
    let mut header = [0; HEADER_BYTES];
    if file_bytes < HEADER_BYTES as u64 {
        // Empty, or none of redb's, which it will say.
        return Ok(());
    }
    read(0, &mut header)?;
    let header = Bytes(&header);
    if header.array(0)? != MAGIC {
        return Err(damaged("the file does not begin as an index does"));
    }
    let flags = header.byte(MAGIC.len())?;
    if flags & TWO_PHASES == 0 {
        // Without them redb believes nothing, and compares every page.
        return Ok(());
    }
    if header.word(12)? as u64 != PAGE_BYTES {
        return Err(damaged("pages have another size"));
    }
    let pages = |at| match header.word(at)? as u64 {
        count if count <= 1 << ORDERS => Ok(count * PAGE_BYTES),
        _ => Err(damaged("a region has too many pages")),
    };
    let (region_header_bytes, data_bytes) = (pages(16)?, pages(20)?);
    let layout = Layout { region_bytes: region_header_bytes + data_bytes, region_header_bytes, file_bytes };
    let slot = 64 + if flags & PRIMARY_IS_SECOND == 0 { 0 } else { SLOT_BYTES };
    let slot = header.slice(slot, SLOT_BYTES)?;
    let (said, sum) = slot.split_at(SLOT_BYTES - SUM_BYTES);
    if xxh3_128(said).to_le_bytes() != sum {
        return Err(damaged("the last commit"));
    }
    let (rows, books) = (Link::root(Bytes(said), 1, 8)?, Link::root(Bytes(said), 2, 40)?);
    let tree = |root: Option<Link>, widths, each: &mut dyn FnMut(&[u8]) -> io::Result<()>| match root {
        None => Ok(()),
        Some(root) => walk(&layout, read, root, widths, each),
    };
    // The list of our tables alone: what they hold has checksums of ours.
    tree(rows, Widths::default(), &mut |_| Ok(()))?;
    let mut tables = Vec::new();
    tree(books, Widths::default(), &mut |definition| {
        tables.push(table(Bytes(definition))?);
        Ok(())
    })?;
    tables.into_iter().try_for_each(|(root, widths)| tree(root, widths, &mut |_| Ok(())))
}

/// Root and widths of a table, from what the list of tables says of it: a byte of its kind, 8 of its length, its root
/// with 8 of its length again, then the widths.
fn table(definition: Bytes<'_>) -> io::Result<(Option<Link>, Widths)> {
    let root = Link::root(definition, 9, 10)?;
    let width = |at| -> io::Result<Option<usize>> {
        Ok(match definition.byte(at)? {
            0 => None,
            _ => Some(definition.word(at + 1)?),
        })
    };
    Ok((root, Widths { key: width(42)?, value: width(47)? }))
}

/// Compares every page of a tree with its checksum, and tells `each` of the values.
fn walk(
    layout: &Layout,
    read: &ReadAt<'_>,
    root: Link,
    widths: Widths,
    each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut waiting = vec![(root, 0)];
    while let Some((link, level)) = waiting.pop() {
        let (start, len) = layout.find(link.page)?;
        let mut page = vec![0; len];
        read(start, &mut page)?;
        let page = Bytes(&page);
        let node = match page.byte(0)? {
            1 => Node::leaf(page, widths)?,
            2 if level < LEVELS => Node::branch(page, widths)?,
            _ => return Err(damaged("a page is of no kind")),
        };
        if xxh3_128(page.slice(0, node.end)?) != link.sum {
            return Err(damaged("a page does not match its checksum"));
        }
        waiting.extend(node.children.into_iter().map(|child| (child, level + 1)));
        node.values.into_iter().try_for_each(&mut *each)?;
    }
    Ok(())
}

/// What a page of a tree says.
struct Node<'a> {
    /// Where what it says ends, and its checksum with it.
    end: usize,
    children: Vec<Link>,
    values: Vec<&'a [u8]>,
}

impl<'a> Node<'a> {
    /// 4 bytes, of which the last two count the pairs; the ends of the keys and of the values, as far as they vary;
    /// the keys; the values.
    fn leaf(page: Bytes<'a>, widths: Widths) -> io::Result<Self> {
        let pairs = page.short(2)?;
        let ends = |width: Option<usize>| if width.is_none() { 4 * pairs } else { 0 };
        let (key_ends, value_ends) = (4, 4 + ends(widths.key));
        let keys = value_ends + ends(widths.value);
        let last = pairs.checked_sub(1).ok_or_else(|| damaged("a page is empty"))?;
        let mut from = match widths.key {
            Some(width) => keys + width * pairs,
            None => page.word(key_ends + 4 * last)?,
        };
        let mut values = Vec::with_capacity(pairs);
        for pair in 0..pairs {
            let end = match widths.value {
                Some(width) => from + width,
                None => page.word(value_ends + 4 * pair)?,
            };
            let len = end.checked_sub(from).ok_or_else(|| damaged("a page ends before it begins"))?;
            values.push(page.slice(from, len)?);
            from = end;
        }
        Ok(Self { end: from, children: Vec::new(), values })
    }

    /// 8 bytes, of which the third and fourth count the keys; the checksums of the children, one more than keys; their
    /// pages; the ends of the keys, if they vary; the keys.
    fn branch(page: Bytes<'a>, widths: Widths) -> io::Result<Self> {
        let keys = page.short(2)?;
        let last = keys.checked_sub(1).ok_or_else(|| damaged("a page is empty"))?;
        let pages = 8 + SUM_BYTES * (keys + 1);
        let after = pages + 8 * (keys + 1);
        let end = match widths.key {
            Some(width) => after + width * keys,
            None => page.word(after + 4 * last)?,
        };
        let children: io::Result<_> = (0..=keys)
            .map(|n| Ok(Link::parse(page.array(pages + 8 * n)?, page.array(8 + SUM_BYTES * n)?)))
            .collect();
        Ok(Self { end, children: children?, values: Vec::new() })
    }
}

/// Reads any bytes as whatever stands in a page, and as a file: for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_any(widths: u8, bytes: &[u8]) {
    let width = |shift: u8| Some(usize::from((widths >> shift) & 0xf)).filter(|width| *width > 0);
    let widths = Widths { key: width(0), value: width(4) };
    let _refused = (
        Node::leaf(Bytes(bytes), widths).is_ok(),
        Node::branch(Bytes(bytes), widths).is_ok(),
        table(Bytes(bytes)).is_ok(),
        compare(bytes.len() as u64, &|offset, out| {
            let from = usize::try_from(offset).expect("a file of this process");
            out.copy_from_slice(bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
        .is_ok(),
    );
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use redb::{Database, Durability, ReadableDatabase as _, TableDefinition};

    use super::*;
    use crate::disk::Disk as _;
    use crate::disk::lossy::LossyDisk;
    use crate::kv::backend::Backend;

    const TABLE: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("t");

    fn compared(file: &[u8]) -> io::Result<()> {
        compare(file.len() as u64, &|offset, out| {
            let from = usize::try_from(offset).unwrap();
            out.copy_from_slice(&file[from..from + out.len()]);
            Ok(())
        })
    }

    /// The file of a database with commits that a reader keeps from being freed, so that the lists of pages to be freed
    /// have several pages, too.
    fn made(quick: bool) -> Vec<u8> {
        let disk = LossyDisk::new();
        let file = disk.create("f").unwrap();
        let backend = Backend::new(file, Default::default());
        let database = Database::builder().create_with_backend(backend).unwrap();
        let mut reader = None;
        for n in 0..60u64 {
            let mut txn = database.begin_write().unwrap();
            txn.set_durability(Durability::Immediate).unwrap();
            txn.set_quick_repair(quick);
            let mut table = txn.open_table(TABLE).unwrap();
            for m in 0..10 {
                table.insert((n * 37 + m * 101) % 1009, vec![1; 300].as_slice()).unwrap();
            }
            drop(table);
            txn.commit().unwrap();
            reader.get_or_insert_with(|| database.begin_read().unwrap());
        }
        // As a crash leaves it.
        disk.content("f")
    }

    #[test]
    fn sound_books_match_their_checksums() {
        for quick in [true, false] {
            let file = made(quick);
            assert_eq!(file[MAGIC.len()] & TWO_PHASES != 0, quick);
            compared(&file).unwrap();
        }
        compared(&[]).unwrap();
    }

    #[test]
    fn a_flipped_bit_is_found_in_every_page_of_the_books() {
        let file = made(true);
        let read = RefCell::new(Vec::new());
        let note = |offset: u64, out: &mut [u8]| {
            let from = usize::try_from(offset).unwrap();
            out.copy_from_slice(&file[from..from + out.len()]);
            read.borrow_mut().push((from, out.len()));
            Ok(())
        };
        compare(file.len() as u64, &note).unwrap();
        let mut pages = read.into_inner();
        assert!(pages.len() > 10, "{pages:?}");
        let slot = if file[MAGIC.len()] & PRIMARY_IS_SECOND == 0 { 64 } else { 64 + SLOT_BYTES };
        pages[0] = (slot, SLOT_BYTES);
        for (from, _) in pages {
            // The kind, a byte that says nothing, the count, and what comes after.
            for at in [0, 1, 2, 3, 8, 9] {
                let mut file = file.clone();
                file[from + at] ^= 1 << (at % 8);
                let error = compared(&file).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{from} {at}: {error}");
            }
        }
    }
}
