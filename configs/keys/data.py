"""The keys of `config.data`: what is read, and how it becomes sequences."""

from jrt_jax.schema import AnyOf
from jrt_jax.schema import Flag
from jrt_jax.schema import KeyOf
from jrt_jax.schema import ListOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import Real
from jrt_jax.schema import Row
from jrt_jax.schema import Text
from jrt_jax.schema import Whole

_SIZES = ListOf(AnyOf(Whole(1, 10**6), ListOf(Whole(1, 10**6), 2, 2)), 0, 1000)
_COUNT = Whole(1, 10**9)
_COUNT_OR_0 = Whole(0, 10**9)

KEYS = dict(
    # python_stdlib: source files of the running Python; text, jsonl, parquet:
    # your files; shards: written by jrt_jax.data.prepare; megatron: .bin and
    # .idx of Megatron-LM or GPT-NeoX; the rest are synthetic tasks
    source=(
        'python_stdlib',
        KeyOf(
            'jrt_jax.data.source_table:SOURCES',
            'jrt_jax.data.synthetic.tasks:TASKS',
        ),
    ),
    # shards: their folder. Otherwise comma-separated globs of files: text
    # and jsonl may be .gz or .zst; megatron takes names without extension
    path=('', Text(2**20)),
    # instead of path, several of them with weights, as in (('shards/web', 0.7),
    # ('shards/code', 0.3)): each training sequence is from one of them, in
    # proportion to the weights. They are of the same kind and tokenizer
    mixture=((), ListOf(Row(Text(2**20), Real(1e-6, 1e12)), 0, 1000)),
    # jsonl, parquet: the field or the column that has the text
    text_key=('text', Text()),
    tokenizer=('bytes', Text()),  # bytes, or the path of a tokenizer.json
    # text, jsonl, parquet, megatron: held-out files, given like path
    validation_path=('', Text(2**20)),
    # without held-out files, this fraction of the tokens, at the end, is
    # held out
    validation_fraction=(0.01, Real(1e-6, 0.99)),
    # documents that share a sequence are one text (concat), or do not see
    # each other; then the first one has a prefix (documents) or each one has
    # a prefix of its own (prefixed_documents)
    packing=('concat', KeyOf('jrt_jax.data.packings:PACKINGS')),
    # N: the prefix of an example is a number of documents that is drawn from 1 to
    # N. They are read apart from each other, as DocumentMemory reads them. 0: the
    # prefix is one text, and the text after it continues it
    documents_in_prefix=(0, Whole(0, 2**10)),
    # probability that a training sequence shows its first document twice
    # (at most half a sequence of it), as JRT-Prompt does
    repeat=(0.0, Real(0, 1)),
    # whether new shards are compared with their checksums, or only in size
    verify=(True, Flag()),
    # threads that prepare batches in advance; 0: none
    num_threads=(4, Whole(0, 2**8)),
    # settings of the synthetic tasks; 0 and () stand for the task's own
    synthetic=dict(
        # sizes of samples: numbers of items, key-value pairs or elements;
        # each is a pair of numbers where the task needs two
        sizes=((), _SIZES),
        # sizes of the held-out samples; (): those of training if `sizes` is
        # given, else the task's own
        held_out_sizes=((), _SIZES),
        num_ids=(0, Whole(0, 2**24)),  # token ids, without [MASK]
        # order of the document (D) and the question (Q) in a prompt
        order=(
            'DQ',
            OneOf(*('DQ', 'QD', 'QDQ', 'DDQ', 'DQDQ', 'QDDQ')),
        ),
        queries=(0, _COUNT_OR_0),  # answers that a sample asks for; 0: all
        # selective_recall: number of categories; each sample has all of
        # them, unless items_per_category says how many items each has
        categories=(4, Whole(1, 10**6)),
        # selective_recall: items of a category in a sample; 0: all categories
        items_per_category=(0, _COUNT_OR_0),
        # set_disjointness: number of elements that the two sets share
        intersections=(1, Whole(1, 10**6)),
        # set_disjointness: ask whether the sets share an element (yes, no)
        binary=(False, Flag()),
        hops=(2, Whole(1, 10**6)),  # multi_hop: hops to the answer
        # mixed: all sizes at every step; one_by_one: one size in each
        # stage; cumulative: each stage adds one size
        curriculum=('mixed', OneOf('mixed', 'one_by_one', 'cumulative')),
        # steps of each stage except the last
        stage_steps=((), ListOf(_COUNT, 0, 1000)),
    ),
)
