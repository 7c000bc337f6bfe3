package com.taobao.android.mnn;

public enum MNNForwardType {
    FORWARD_CPU(0);

    public int type;

    MNNForwardType(int type) {
        this.type = type;
    }
}
