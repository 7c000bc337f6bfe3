package android.os;

public class BaseBundle {
    BaseBundle() {}
}
