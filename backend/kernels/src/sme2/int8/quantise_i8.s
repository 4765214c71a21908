// void tandem_sme2_quantise_i8(const Quantise *): rows of f32 to slabs of i8, four k of a position next to each other.
//
// A group of 2 VL rows passes three times, the last two of which find it in cache: extremes and what follows from them
// (a row's extremes are gathered in ZA, so that a lane is a row where the parameters are computed), rows of bytes, and a
// transposition of their words.
//
// ZA       extremes: za0 / za1 lowest / highest of VL rows; words: za0 / za1 first / second VL rows times VL words.
// Vectors  z0-z7 data; z12 reciprocal scale and z13 zero point of a row; z20-z24 constants.
// p0 all lanes of 4 bytes, p1 scratch, p2 all bytes, pn8 the k that exist of 4 VL, pn10 all lanes.
// x0 Quantise   x1 row pointers of the group   x2 groups left   x3 dst of the group   x4 k          x5 first k
// x6 parameters of the group   x7 bytes   x8 parameters   x9-x11 1, 2, 3 steps of bytes (words)   x13 4 steps (B)
// x14 dst   x15 words left   x16 words of the block left   x17 half of the parameters (B)   x19 rows left   x20-x22 rows
// x26 fixed parameters   x27 VL
// Contract: see `Quantise` in mod.rs.

.equ QUANTISE_ROWS, 0
.equ QUANTISE_GROUPS, 8
.equ QUANTISE_K, 16
.equ QUANTISE_DST, 24
.equ QUANTISE_GROUP, 32
.equ QUANTISE_PARAMS, 40
.equ QUANTISE_BYTES, 48
.equ QUANTISE_STEP, 56
.equ QUANTISE_FIXED, 64

.macro FLOAT to, bits
    mov w20, #\bits
    dup \to\().s, w20
.endm

// Lowest and highest value of VL rows, and 0, to lanes of z0 and z4.
.macro EXTREMES
    mov w12, #0
1:  ldr x20, [x1], #8
    mov x5, #0
    mov z0.s, #0
    mov z1.s, #0
    mov z2.s, #0
    mov z3.s, #0
    mov z4.s, #0
    mov z5.s, #0
    mov z6.s, #0
    mov z7.s, #0
    whilelt pn8.s, x5, x4, vlx4
2:  ld1w {z8.s-z11.s}, pn8/z, [x20, x5, lsl #2]
    fmin {z0.s-z3.s}, {z0.s-z3.s}, {z8.s-z11.s}
    fmax {z4.s-z7.s}, {z4.s-z7.s}, {z8.s-z11.s}
    incb x5
    whilelt pn8.s, x5, x4, vlx4
    b.first 2b
    fmin {z0.s-z1.s}, {z0.s-z1.s}, {z2.s-z3.s}
    fmax {z4.s-z5.s}, {z4.s-z5.s}, {z6.s-z7.s}
    fmin z0.s, p0/m, z0.s, z1.s
    fmax z4.s, p0/m, z4.s, z5.s
    mova za0h.s[w12, 0], p0/m, z0.s
    mova za1h.s[w12, 0], p0/m, z4.s
    add w12, w12, #1
    cmp w12, w27
    b.lo 1b
    mov w12, #0
    mova {z0.s-z3.s}, za0v.s[w12, 0:3]
    mova {z4.s-z7.s}, za1v.s[w12, 0:3]
    b 4f
3:  mova {z8.s-z11.s}, za0v.s[w12, 0:3]
    fmin {z0.s-z3.s}, {z0.s-z3.s}, {z8.s-z11.s}
    mova {z8.s-z11.s}, za1v.s[w12, 0:3]
    fmax {z4.s-z7.s}, {z4.s-z7.s}, {z8.s-z11.s}
4:  add w12, w12, #4
    cmp w12, w27
    b.lo 3b
    fmin {z0.s-z1.s}, {z0.s-z1.s}, {z2.s-z3.s}
    fmax {z4.s-z5.s}, {z4.s-z5.s}, {z6.s-z7.s}
    fmin z0.s, p0/m, z0.s, z1.s
    fmax z4.s, p0/m, z4.s, z5.s
.endm

// Reciprocal scale, zero point, scale and the pair of factors of the zero point, a lane a row, to x8 and on.
.macro PARAMETERS
    fsub z6.s, z4.s, z0.s
    fdiv z6.s, p0/m, z6.s, z22.s
    fmax z6.s, p0/m, z6.s, z23.s
    fmov z7.s, #1.0
    fdiv z7.s, p0/m, z7.s, z6.s
    fdiv z0.s, p0/m, z0.s, z6.s
    fdiv z4.s, p0/m, z4.s, z6.s
    // The end of the range whose zero point is the more exact.
    fadd z1.s, z20.s, z0.s
    fadd z2.s, z21.s, z4.s
    fadd z1.s, z1.s, z2.s
    fcmgt p1.s, p0/z, z1.s, #0.0
    fsub z0.s, z20.s, z0.s
    fsub z4.s, z21.s, z4.s
    sel z0.s, p1, z0.s, z4.s
    fmax z0.s, p0/m, z0.s, z20.s
    fmin z0.s, p0/m, z0.s, z21.s
    frintn z0.s, p0/m, z0.s
    movprfx z1, z0
    fcvtzs z1.s, p0/m, z0.s
    scvtf z0.s, p0/m, z1.s
    subr z1.s, z1.s, #0
    lsl z2.s, z1.s, #23
    and z1.s, z1.s, #0xffff
    orr z1.d, z1.d, z2.d
    st1w {z7.s}, p0, [x8]
    st1w {z0.s}, p0, [x8, #2, mul vl]
    st1w {z6.s}, p0, [x8, #4, mul vl]
    st1w {z1.s}, p0, [x8, #6, mul vl]
    addvl x8, x8, #1
.endm

// A group's rows to bytes; `fixed` rounds before it adds the zero point, which is an integer then.
.macro BYTES fixed
    mov x8, x6
    mov x21, x7
    lsl x19, x27, #1
1:  ldr x20, [x1], #8
    add x22, x8, x17
    ld1rw {z12.s}, p0/z, [x8]
    ld1rw {z13.s}, p0/z, [x22]
    mov x5, #0
    whilelt pn8.s, x5, x4, vlx4
2:  ld1w {z0.s-z3.s}, pn8/z, [x20, x5, lsl #2]
.ifc \fixed, yes
    fmul z0.s, z0.s, z12.s
    fmul z1.s, z1.s, z12.s
    fmul z2.s, z2.s, z12.s
    fmul z3.s, z3.s, z12.s
    frintn {z0.s-z3.s}, {z0.s-z3.s}
    fcvtzs {z0.s-z3.s}, {z0.s-z3.s}
    sclamp {z0.s-z3.s}, z20.s, z21.s
    add {z0.s-z3.s}, {z0.s-z3.s}, z13.s
.else
    fmad z0.s, p0/m, z12.s, z13.s
    fmad z1.s, p0/m, z12.s, z13.s
    fmad z2.s, p0/m, z12.s, z13.s
    fmad z3.s, p0/m, z12.s, z13.s
    frintn {z0.s-z3.s}, {z0.s-z3.s}
    fcvtzs {z0.s-z3.s}, {z0.s-z3.s}
.endif
    sqcvt z0.b, {z0.s-z3.s}
    st1b {z0.b}, p2, [x21, x5]
    incb x5
    whilelt pn8.s, x5, x4, vlx4
    b.first 2b
    add x21, x21, x9, lsl #2
    add x8, x8, #4
    subs x19, x19, #1
    b.ne 1b
.endm

// Words of a group's bytes to dst, words outermost.
.macro TURN
    mov x14, x3
    add x15, x4, #3
    lsr x15, x15, #2
    mov x5, x7
1:  mov x20, x5
    mul x21, x9, x27
    add x21, x20, x21, lsl #2
    mov w12, #0
2:  ld1w {za0h.s[w12, 0]}, p0/z, [x20]
    ld1w {za1h.s[w12, 0]}, p0/z, [x21]
    ld1w {za0h.s[w12, 1]}, p0/z, [x20, x9, lsl #2]
    ld1w {za1h.s[w12, 1]}, p0/z, [x21, x9, lsl #2]
    ld1w {za0h.s[w12, 2]}, p0/z, [x20, x10, lsl #2]
    ld1w {za1h.s[w12, 2]}, p0/z, [x21, x10, lsl #2]
    ld1w {za0h.s[w12, 3]}, p0/z, [x20, x11, lsl #2]
    ld1w {za1h.s[w12, 3]}, p0/z, [x21, x11, lsl #2]
    add x20, x20, x13
    add x21, x21, x13
    add w12, w12, #4
    cmp w12, w27
    b.lo 2b
    cmp x15, x27
    csel x16, x15, x27, lo
    mov w12, #0
3:  mova {z0.s-z3.s}, za0v.s[w12, 0:3]
    mova {z8.s-z11.s}, za1v.s[w12, 0:3]
    st1w {z0.s, z8.s}, pn10, [x14]
    st1w {z1.s, z9.s}, pn10, [x14, #2, mul vl]
    st1w {z2.s, z10.s}, pn10, [x14, #4, mul vl]
    st1w {z3.s, z11.s}, pn10, [x14, #6, mul vl]
    addvl x14, x14, #8
    add w12, w12, #4
    subs x16, x16, #4
    b.hi 3b
    incb x5
    subs x15, x15, x27
    b.hi 1b
.endm

FUNCTION tandem_sme2_quantise_i8
    ENTER
    cntw x27
    ptrue p0.s
    ptrue p2.b
    ptrue pn10.s
    ldp x1, x2, [x0, #QUANTISE_ROWS]
    ldp x4, x3, [x0, #QUANTISE_K]
    ldp x6, x7, [x0, #QUANTISE_PARAMS]
    ldp x9, x26, [x0, #QUANTISE_STEP]
    lsl x13, x9, #2
    lsr x9, x9, #2
    lsl x10, x9, #1
    add x11, x10, x9
    lsl x17, x27, #3
    cbnz x26, 11f
    FLOAT z20, 0xc3000000 // -128
    FLOAT z21, 0x42fe0000 // 127
    FLOAT z22, 0x437f0000 // 255
    FLOAT z23, 0x34000000 // the least scale
    b 10f
11: // Bounds that leave room for any zero point.
    mov z20.s, #-512
    mov z21.s, #512
10: // group
    cbnz x26, 12f
    mov x8, x6
    EXTREMES
    PARAMETERS
    EXTREMES
    PARAMETERS
    sub x1, x1, x27, lsl #4
    BYTES no
    b 13f
12: BYTES yes
13: TURN
    add x6, x6, x17, lsl #2
    ldr x20, [x0, #QUANTISE_GROUP]
    add x3, x3, x20
    subs x2, x2, #1
    b.ne 10b
    LEAVE
END tandem_sme2_quantise_i8
