// void tandem_sme2_depthwise_f32(const Taps *): a weighted sum of taps for every position of some channels' planes, four
// vectors of positions at a time, sums in ZA.
//
// ZA       group g of 4 VL positions: the four vectors (w8 = 0) + g.
// Vectors  z0-z3 positions, z8 weight, z10 z11 the clamp, z12-z15 bias. p0 all lanes, pn10 all lanes.
// x0 Taps   x1 channel's plane   x2 channels left   x3 channel's weight   x4 its dst   x5 bias   x6 clamp   x7 groups left
// x9 tap offsets   x10 taps left   x11 weight   x13 plane at the tap   x14 plane and x15 dst of the block
// x16 bytes between taps' weights   x17 bytes of a group   x20 scratch   x27 VL
// Contract: see `Taps` in mod.rs.

.equ TAPS_PLANE, 0
.equ TAPS_STEP, 8
.equ TAPS_CHANNELS, 16
.equ TAPS_WEIGHT, 24
.equ TAPS_WIDTH, 32
.equ TAPS_OFFSETS, 40
.equ TAPS_COUNT, 48
.equ TAPS_GROUPS, 56
.equ TAPS_DST, 64
.equ TAPS_DST_STEP, 72
.equ TAPS_BIAS, 80
.equ TAPS_CLAMP, 88

.macro ADD_TAP group, at
    ld1w {z0.s-z3.s}, pn10/z, [x13, #\at, mul vl]
    fmla za.s[w8, \group, vgx4], {z0.s-z3.s}, z8.s
.endm

.macro FINISH_GROUP group, at
    fadd za.s[w8, \group, vgx4], {z12.s-z15.s}
    mova {z0.d-z3.d}, za.d[w8, \group, vgx4]
    cbz x6, 4f
    fmax {z0.s-z3.s}, {z0.s-z3.s}, z10.s
    fmin {z0.s-z3.s}, {z0.s-z3.s}, z11.s
4:  st1w {z0.s-z3.s}, pn10, [x15, #\at, mul vl]
.endm

// `count` groups, 2 to the `shift`; `each` names the macro of each of them.
.macro EACH each, count
    \each 0, 0
.if \count > 1
    \each 1, 4
    \each 2, 8
    \each 3, 12
.endif
.if \count > 4
    \each 4, 16
    \each 5, 20
    \each 6, 24
    \each 7, 28
.endif
.endm

.macro BLOCK count, shift
    zero {za}
    ldp x9, x10, [x0, #TAPS_OFFSETS]
    mov x11, x3
3:  ldr x20, [x9], #8
    ld1rw {z8.s}, p0/z, [x11]
    add x13, x14, x20, lsl #2
    add x11, x11, x16
    EACH ADD_TAP, \count
    subs x10, x10, #1
    b.ne 3b
    EACH FINISH_GROUP, \count
    add x14, x14, x17, lsl #\shift
    add x15, x15, x17, lsl #\shift
.endm

FUNCTION tandem_sme2_depthwise_f32
    ENTER
    cntw x27
    rdvl x17, #4
    ptrue p0.s
    ptrue pn10.s
    mov w8, #0
    ldr x1, [x0, #TAPS_PLANE]
    ldp x2, x3, [x0, #TAPS_CHANNELS]
    ldr x16, [x0, #TAPS_WIDTH]
    lsl x16, x16, #2
    ldr x4, [x0, #TAPS_DST]
    ldp x5, x6, [x0, #TAPS_BIAS]
    cbz x6, 1f
    ld1rw {z10.s}, p0/z, [x6]
    ld1rw {z11.s}, p0/z, [x6, #4]
1:  mov z12.s, #0
    cbz x5, 2f
    ld1rw {z12.s}, p0/z, [x5]
    add x5, x5, #4
2:  mov z13.d, z12.d
    mov z14.d, z12.d
    mov z15.d, z12.d
    mov x14, x1
    mov x15, x4
    ldr x7, [x0, #TAPS_GROUPS]
    // Eight groups are all of ZA at vectors of 256 bits, four at 128.
    cmp x27, #8
    b.lo 11f
    subs x7, x7, #8
    b.lo 10f
9:  BLOCK 8, 3
    subs x7, x7, #8
    b.hs 9b
10: add x7, x7, #8
11: subs x7, x7, #4
    b.lo 13f
12: BLOCK 4, 2
    subs x7, x7, #4
    b.hs 12b
13: adds x7, x7, #4
    b.eq 15f
14: BLOCK 1, 0
    subs x7, x7, #1
    b.ne 14b
15: ldr x20, [x0, #TAPS_STEP]
    add x1, x1, x20, lsl #2
    ldr x20, [x0, #TAPS_DST_STEP]
    add x4, x4, x20, lsl #2
    add x3, x3, #4
    subs x2, x2, #1
    b.ne 1b
    LEAVE
END tandem_sme2_depthwise_f32
