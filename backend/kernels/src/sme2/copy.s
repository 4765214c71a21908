// void tandem_sme2_copy_f32(const Copy *): rows of planes, four vectors at a time, or every other element of four.
//
// x1 src   x2 dst of the plane   x3 width   x4 rows   x5 x6 bytes to the next row   x7 planes   x9 x10 bytes to the next
// plane   x11 x13 src and dst of the row   x14 rows left   x15 elements done   x16 4 VL   pn8 elements left.
// At step 2: x17 elements of src done   x19 elements of src   x20 step   x21 2 VL   pn9 elements of dst left.
// Contract: see `Copy` in mod.rs.

FUNCTION tandem_sme2_copy_f32
    ENTER
    ldp x1, x2, [x0]
    ldp x3, x20, [x0, #16]
    ldp x4, x5, [x0, #32]
    ldp x6, x7, [x0, #48]
    ldp x9, x10, [x0, #64]
    lsl x5, x5, #2
    lsl x6, x6, #2
    lsl x9, x9, #2
    lsl x10, x10, #2
    cntw x16, all, mul #4
    lsr x21, x16, #1
    lsl x19, x3, #1
    sub x19, x19, #1
1:  mov x11, x1
    mov x13, x2
    mov x14, x4
    cmp x20, #2
    b.eq 8f
    mov x15, #0
    whilelt pn8.s, xzr, x3, vlx4
3:  ld1w {z0.s-z3.s}, pn8/z, [x11, x15, lsl #2]
    st1w {z0.s-z3.s}, pn8, [x13, x15, lsl #2]
    cmp x16, x3
    b.lo 5f
4:  add x11, x11, x5
    add x13, x13, x6
    subs x14, x14, #1
    b.ne 3b
    b 6f
    // Rows of more than four vectors.
5:  add x15, x15, x16
    whilelt pn8.s, x15, x3, vlx4
    b.none 7f
    ld1w {z0.s-z3.s}, pn8/z, [x11, x15, lsl #2]
    st1w {z0.s-z3.s}, pn8, [x13, x15, lsl #2]
    b 5b
7:  mov x15, #0
    whilelt pn8.s, xzr, x3, vlx4
    b 4b
    // Every other element; the last one may be the last of src.
8:  mov x15, #0
    mov x17, #0
9:  whilelt pn8.s, x17, x19, vlx4
    whilelt pn9.s, x15, x3, vlx2
    ld1w {z0.s-z3.s}, pn8/z, [x11, x17, lsl #2]
    uzp1 z0.s, z0.s, z1.s
    uzp1 z1.s, z2.s, z3.s
    st1w {z0.s-z1.s}, pn9, [x13, x15, lsl #2]
    add x15, x15, x21
    add x17, x17, x16
    cmp x15, x3
    b.lo 9b
    add x11, x11, x5
    add x13, x13, x6
    subs x14, x14, #1
    b.ne 8b
6:  add x1, x1, x9
    add x2, x2, x10
    subs x7, x7, #1
    b.ne 1b
    LEAVE
END tandem_sme2_copy_f32

// Two vectors of both planes from x17 on, every one or every other element, to four of words from x15 on.
.macro INTERLEAVE step
.if \step == 1
    ld1h {z0.h-z1.h}, pn8/z, [x11, x17, lsl #1]
    ld1h {z8.h-z9.h}, pn9/z, [x12, x17, lsl #1]
.else
    ld1h {z0.h-z3.h}, pn8/z, [x11, x17, lsl #1]
    ld1h {z8.h-z11.h}, pn9/z, [x12, x17, lsl #1]
    uzp1 z0.h, z0.h, z1.h
    uzp1 z1.h, z2.h, z3.h
    uzp1 z8.h, z8.h, z9.h
    uzp1 z9.h, z10.h, z11.h
.endif
    zip {z4.h-z5.h}, z0.h, z8.h
    zip {z6.h-z7.h}, z1.h, z9.h
    st1h {z4.h-z7.h}, pn10, [x13, x15, lsl #1]
.endm

// What is left of a row.
.macro LEFT vectors
    whilelt pn8.h, x17, x19, vlx\vectors
    whilelt pn9.h, x17, x21, vlx\vectors
    whilelt pn10.h, x15, x23, vlx4
.endm

// All rows of a pair of planes.
.macro INTERLEAVE_ROWS step, vectors
    mov x15, #0
    mov x17, #0
    LEFT \vectors
1:  INTERLEAVE \step
    cmp x24, x23
    b.lo 3f
2:  add x11, x11, x5
    add x12, x12, x5
    add x13, x13, x6
    subs x14, x14, #1
    b.ne 1b
    b 4f
    // Rows of more than four vectors of words.
3:  add x15, x15, x24
    add x17, x17, x25
    LEFT \vectors
    INTERLEAVE \step
    add x22, x15, x24
    cmp x22, x23
    b.lo 3b
    mov x15, #0
    mov x17, #0
    LEFT \vectors
    b 2b
4:
.endm

// void tandem_sme2_copy_f16(const Copy *), of either halves: pairs of planes become one of words, the last plane with zeros
// where it is alone.
//
// x1 src   x2 dst of the pair   x3 width   x4 rows   x5 x6 bytes to the next row   x7 planes left   x9 bytes to the next
// plane   x10 to the next of words   x11 x12 x13 src of both and dst of the row   x14 rows left   x15 halves of dst done, x23
// of them   x17 elements of src done, x19 x21 of both   x20 step   x24 4 vectors of dst (halves), x25 of src
// pn8 pn9 elements of src left   pn10 halves of dst left.
// Contract: see `Copy` in mod.rs.

FUNCTION tandem_sme2_copy_f16
    ENTER
    ldp x1, x2, [x0]
    ldp x3, x20, [x0, #16]
    ldp x4, x5, [x0, #32]
    ldp x6, x7, [x0, #48]
    ldp x9, x10, [x0, #64]
    lsl x5, x5, #1
    lsl x6, x6, #2
    lsl x9, x9, #1
    lsl x10, x10, #2
    cnth x24, all, mul #4
    lsr x25, x24, #1
    mul x25, x25, x20
    // The last element may be the last of src.
    sub x19, x3, #1
    mul x19, x19, x20
    add x19, x19, #1
    lsl x23, x3, #1
10: mov x11, x1
    add x12, x1, x9
    mov x13, x2
    mov x14, x4
    cmp x7, #1
    csel x21, x19, xzr, ne
    cmp x20, #2
    b.eq 11f
    INTERLEAVE_ROWS 1, 2
    b 12f
11: INTERLEAVE_ROWS 2, 4
12: add x1, x1, x9, lsl #1
    add x2, x2, x10
    subs x7, x7, #2
    b.hi 10b
    LEAVE
END tandem_sme2_copy_f16

// void tandem_sme2_splat(u32 *dst, u64 count, u32 word).
FUNCTION tandem_sme2_splat
    ENTER
    cntw x16, all, mul #4
    mov x15, #0
    dup z0.s, w2
    mov z1.d, z0.d
    mov z2.d, z0.d
    mov z3.d, z0.d
    b 2f
1:  st1w {z0.s-z3.s}, pn8, [x0, x15, lsl #2]
    add x15, x15, x16
2:  whilelt pn8.s, x15, x1, vlx4
    b.any 1b
    LEAVE
END tandem_sme2_splat
