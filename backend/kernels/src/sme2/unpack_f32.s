// void tandem_sme2_unpack_f32(const Unpack *): planes of contiguous positions to rows of contiguous channels, the
// transposition of pack_f32.
//
// ZA       za0 za1 / za2 za3: first / second VL positions of a group times first / second VL channels of a block.
// x0 Unpack   x1 plane of the group   x2 groups left   x3 dst row pointers of the group   x4 end of channels   x5 bytes
// between planes   x6 first channel of the block   x7 row pointers   x9 plane   x10 channels left to load   x11 slices to load
// x14 first channel   x20-x23 rows   x27 VL   p0 all lanes, pn8 the block's channels.
// Contract: see `Unpack` in mod.rs.

.macro LOAD_CHANNELS first, second
    mov w12, #0
    cmp x10, x27
    csel x11, x10, x27, lo
    cbz x11, 2f
1:  ld1w {\first\()v.s[w12, 0]}, p0/z, [x9]
    ld1w {\second\()v.s[w12, 0]}, p0/z, [x9, x27, lsl #2]
    add x9, x9, x5
    add w12, w12, #1
    cmp w12, w11
    b.lo 1b
    sub x10, x10, x11
2:
.endm

FUNCTION tandem_sme2_unpack_f32
    ENTER
    cntw x27
    ptrue p0.s
    ldp x1, x5, [x0]
    ldp x4, x3, [x0, #16]
    ldp x14, x2, [x0, #32]
    add x4, x4, x14
    lsl x5, x5, #2
5:  mov x6, x14
    mov x9, x1
    sub x10, x4, x6
6:  whilelt pn8.s, x6, x4, vlx2
    LOAD_CHANNELS za0, za2
    LOAD_CHANNELS za1, za3
    mov x7, x3
    STORE za0, za1, no, f32, rows
    STORE za2, za3, no, f32, rows
    add x6, x6, x27, lsl #1
    cmp x6, x4
    b.lo 6b
    add x1, x1, x27, lsl #3
    add x3, x3, x27, lsl #4
    subs x2, x2, #1
    b.ne 5b
    LEAVE
END tandem_sme2_unpack_f32
