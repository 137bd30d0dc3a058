qconfig::backend_config! {
    pub backend BROKEN = "broken";

    config a { input: quint8, output: quint8 }
    config w { input: quint8, output: quint9 }
    list all = [a, x];

    pattern nn::ReLU: a { kernel none; }
    patern nn::Linear: w;
}
