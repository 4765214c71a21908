// void tandem_sme2_pack_f32(const Pack *): rows of contiguous k to slabs of contiguous positions, a transposition in ZA.
//
// ZA       za0 / za1: first / second VL rows of a group times VL k; za2 / za3 the next VL k.
// p1, p2   the k that exist of the first and the next VL; pn10 all lanes; p0 all lanes.
// x0 Pack        x1 row pointers of the group   x2 groups left   x3 dst of the group   x4 k      x5 first k of the block
// x6 next VL k   x7 k of all rows               x8 second half's row pointers          x9-x11 1, 2, 3 dst steps
// x13 4 dst steps (B)   x14 dst   x15 k left to store   x20-x23, x25, x26, x28, x30 rows   x27 VL
// Contract: see `Pack` in mod.rs.

.equ PACK_ROWS, 0
.equ PACK_GROUPS, 8
.equ PACK_K, 16
.equ PACK_DST, 24
.equ PACK_STEP, 32
.equ PACK_GROUP, 40

.macro LOAD_SLICES at, first, second
    ld1w {za0h.s[w12, \at]}, p1/z, [\first, x5, lsl #2]
    ld1w {za2h.s[w12, \at]}, p2/z, [\first, x6, lsl #2]
    ld1w {za1h.s[w12, \at]}, p1/z, [\second, x5, lsl #2]
    ld1w {za3h.s[w12, \at]}, p2/z, [\second, x6, lsl #2]
.endm

// Up to VL k of two tiles, x15 of them, to dst.
.macro STORE_K left, right
    mov w12, #0
    cmp x15, x27
    csel x16, x15, x27, lo
    subs x16, x16, #4
    b.lo 2f
1:  mova {z0.s-z3.s}, \left\()v.s[w12, 0:3]
    mova {z8.s-z11.s}, \right\()v.s[w12, 0:3]
    st1w {z0.s, z8.s}, pn10, [x14]
    st1w {z1.s, z9.s}, pn10, [x14, x9, lsl #2]
    st1w {z2.s, z10.s}, pn10, [x14, x10, lsl #2]
    st1w {z3.s, z11.s}, pn10, [x14, x11, lsl #2]
    add x14, x14, x13
    add w12, w12, #4
    subs x16, x16, #4
    b.hs 1b
2:  adds x16, x16, #4
    b.eq 4f
3:  st1w {\left\()v.s[w12, 0]}, p0, [x14]
    st1w {\right\()v.s[w12, 0]}, p0, [x14, x27, lsl #2]
    add x14, x14, x9, lsl #2
    add w12, w12, #1
    subs x16, x16, #1
    b.ne 3b
4:
.endm

FUNCTION tandem_sme2_pack_f32
    ENTER
    cntw x27
    ptrue p0.s
    ptrue pn10.s
    ldp x1, x2, [x0, #PACK_ROWS]
    ldp x4, x3, [x0, #PACK_K]
    ldr x9, [x0, #PACK_STEP]
    lsl x10, x9, #1
    add x11, x10, x9
    lsl x13, x9, #4
10: // group of 2 VL rows
    mov x14, x3
    mov x5, #0
    mov x15, x4
11: // 2 VL k
    add x6, x5, x27
    whilelt p1.s, x5, x4
    whilelt p2.s, x6, x4
    mov x7, x1
    add x8, x1, x27, lsl #3
    mov w12, #0
12: ldp x20, x21, [x7], #16
    ldp x22, x23, [x7], #16
    ldp x25, x26, [x8], #16
    ldp x28, x30, [x8], #16
    LOAD_SLICES 0, x20, x25
    LOAD_SLICES 1, x21, x26
    LOAD_SLICES 2, x22, x28
    LOAD_SLICES 3, x23, x30
    add w12, w12, #4
    cmp w12, w27
    b.lo 12b
    STORE_K za0, za1
    subs x15, x15, x27
    b.ls 13f
    STORE_K za2, za3
    add x5, x6, x27
    subs x15, x15, x27
    b.hi 11b
13: ldr x20, [x0, #PACK_GROUP]
    add x3, x3, x20, lsl #2
    add x1, x1, x27, lsl #4
    subs x2, x2, #1
    b.ne 10b
    LEAVE
END tandem_sme2_pack_f32
